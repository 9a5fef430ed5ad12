"""The process that a job runs in: takes a request from standard input, writes what it measured to a file."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from importlib import import_module
from pathlib import Path

from benchmarks.machine import CORES


def main() -> None:
    """Run the job."""
    request = json.load(sys.stdin)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    module, _, function = request["job"].partition(":")
    work = getattr(import_module(module), function)(**request["arguments"])
    start_s = time.time() - request["asked_at"]
    began, cpu = time.perf_counter(), _cpu()
    facts = work()
    seconds, cpu_s = time.perf_counter() - began, _cpu() - cpu
    found = {"seconds": seconds, "start_s": start_s, "cpu_s": cpu_s, "facts": facts}
    found["peak_mib"] = facts.pop("peak_mib", None) or _peak_mib()
    Path(request["answer"]).write_text(json.dumps(found))


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak_mib() -> float:
    """Most memory that this process held at once. Our ways start no others; fastText's are measured where they run."""
    try:
        # ru_maxrss starts with what the parent process held when it forked.
        held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(held.split()[1]) / 1024
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    main()
