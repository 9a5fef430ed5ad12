"""Running one job in a process of its own: seconds, processor time and peak memory are nobody else's.

A job is a function that gets ready (imports, loads) and returns another one, which does the work. Start-up and work are
timed apart.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.machine import CORES

__all__ = ["Job", "JobFailed", "Measured", "measured"]

Work: TypeAlias = Callable[[], dict[str, Any]]
Job: TypeAlias = Callable[..., Work]

_PROJECT = Path(__file__).resolve().parent.parent
# Each of these would otherwise take every core that the machine has.
_THREADS = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class JobFailed(RuntimeError):
    """A job ended with an error; the message holds what it said last."""


@dataclass(frozen=True)
class Measured:
    """What a job took: the run of the median time, where there were several.

    Attributes:
        seconds: the work.
        start_s: from the start of the process to the start of the work.
        cpu_s: processor time of the work, all cores and child processes together.
        peak_mib: most memory that the process ever held, start-up included.
        facts: what the work returned.
        repeats: how many times it was run.
    """

    seconds: float
    start_s: float
    cpu_s: float
    peak_mib: float
    facts: dict[str, Any]
    repeats: int


def measured(
    job: Job,
    arguments: dict[str, Any],
    *,
    repeats: int = 1,
    home: Path | None = None,
    settings: Mapping[str, str] | None = None,
) -> Measured:
    """Run a job of a module of benchmarks, by its name, in a new process on CORES cores.

    Args:
        job: the function; its module must be importable.
        arguments: what it is called with; paths go as text, the rest must mean the same as JSON.
        repeats: times to run it; the run with the median seconds is reported.
        home: AISLE_HOME of the process.
        settings: other AISLE_* variables of it; it has none of this process's.

    Raises:
        JobFailed: it ended with an error.
    """
    runs = [
        _run(f"{job.__module__}:{job.__qualname__}", arguments, _environment(home, settings or {}))
        for _ in range(repeats)
    ]
    runs.sort(key=lambda run: float(run["seconds"]))
    return Measured(**runs[len(runs) // 2], repeats=repeats)


def _run(job: str, arguments: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        answer = Path(folder) / "answer.json"
        request = {"job": job, "arguments": arguments, "answer": str(answer), "asked_at": time.time()}
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.child"],
            input=json.dumps(request, default=str),
            capture_output=True,
            text=True,
            cwd=_PROJECT,
            env=environment,
            check=False,
        )
        if done.returncode or not answer.exists():
            raise JobFailed(f"{job} ended with {done.returncode}:\n{done.stderr[-2_000:]}")
        found: dict[str, Any] = json.loads(answer.read_text())
        return found


def _environment(home: Path | None, settings: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AISLE_", "PREFECT_", "MLFLOW_"))}
    own = {} if home is None else {"AISLE_HOME": str(home)}
    return kept | dict.fromkeys(_THREADS, str(CORES)) | own | dict(settings)
