"""What workers of the tests do: steps of their own, and dying with SIGKILL in the middle of one of ours."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from core.orchestration import step

DEATHS = "TESTED_DEATHS"
"""Names a folder: a file in it orders one death, at the point of its name, and is gone then."""

BATCH = 3
"""Staged batches of a file after which its reader dies."""


@step("double")
def double(number: int) -> int:
    return 2 * number


@step("die")
def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dask_setup(_worker: Any) -> None:
    """Have a worker die while reading or scoring, where that is ordered. Dask calls this in each that loads it."""
    import warehouse.ingest
    import warehouse.scoring

    stage, score = warehouse.ingest.Stage.write, warehouse.scoring.score_partition

    def staged(self: Any, *frames: Any) -> None:
        stage(self, *frames)
        if self._batch == BATCH:
            _die_if_ordered("reading")

    def scored(*what: Any) -> int:
        rows = score(*what)
        _die_if_ordered("scoring")
        return rows

    warehouse.ingest.Stage.write = staged  # type: ignore[method-assign]
    warehouse.scoring.score_partition = scored


def _die_if_ordered(where: str) -> None:
    try:
        (Path(os.environ[DEATHS]) / where).unlink()  # one of several workers succeeds
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
