"""Running a flow for a person who waits: progress on a terminal's stderr, silence elsewhere."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from aisle.failures import debugging
from aisle.render import note
from core import memory

if TYPE_CHECKING:
    from rich.progress import TaskID

R = TypeVar("R")


def run(flow: Callable[..., R], *args: Any, what: str, with_prefect: bool = False, **kwargs: Any) -> R:
    """Run a flow and show that it goes on. `what` names the work for people; `flow` is one of `flows`."""
    from core.orchestration import run_flow

    if with_prefect and not os.environ.get("PREFECT_API_URL"):
        _tell_that_a_server_starts()
    with progress(what):
        return run_flow(flow, *args, with_prefect=with_prefect, **kwargs)  # type: ignore[arg-type]


@cache
def _tell_that_a_server_starts() -> None:
    note("starting a Prefect server for this command, which takes some seconds")


def prepare() -> None:
    """Set what Prefect reads when it is imported. Call before importing `flows`, which import it.

    Raises:
        HomeUnusable: nothing can be written there; Prefect, which may keep its own below it, would only fail.
    """
    from warehouse.home import get_home

    get_home(fresh=False).require_writable()
    if not debugging():
        # Prefect writes the trace of a failed step to stderr; here it is told once, by name. Its server has the trace.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    _tell_of_too_little_memory()
    importlib.import_module("core.orchestration")  # it sets the rest, and must be the first to import Prefect


@cache
def _tell_of_too_little_memory() -> None:
    """Say so before: a process that is killed for it says nothing."""
    allowed = memory.allowed()
    if allowed < memory.LEAST_BYTES:
        note(
            f"warning: {allowed // memory.MIB:,} MiB of memory are allowed here, and a run takes "
            f"{memory.LEAST_BYTES // memory.MIB:,} and more; one that is killed for it (exit code 137) changes nothing"
        )


@contextmanager
def working(what: str) -> Iterator[None]:
    """A line that something is being done, where no flow runs; only on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def progress(what: str) -> Iterator[None]:
    """A line with the time gone, and a bar for every step that is mapped over parts; only on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from core.orchestration import listen

    what_is_done, how_far = TextColumn("{task.description}"), TextColumn("{task.fields[far]}")
    columns = (SpinnerColumn(), what_is_done, BarColumn(), how_far, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bars.add_task(what, total=None, far="")
        steps: dict[str, TaskID] = {}

        def told(step: str, done: int, total: int) -> None:
            if step not in steps:
                steps[step] = bars.add_task(f"  {step}", total=total, far="")
            bars.update(steps[step], completed=done, total=total, far=f"{done:,}/{total:,}")

        stop = listen(told)
        try:
            yield
        finally:
            stop()
