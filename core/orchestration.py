"""Flows and tasks that run under Prefect when asked, and in this process at once otherwise.

Prefect has no offline mode: outside a flow run its tasks start an ephemeral server (10-16 s). A `Step` is a Prefect
task that calls its own function when no flow run is active. The same flow function is then a flow run like any other
under Prefect, and a plain function call without it. Either way a step is mapped over what AISLE_RUNNER names.
"""

from __future__ import annotations

import logging
import os

# Before prefect is imported: it reads its settings then. Nobody's usage is reported unless they ask for it.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
# The default of 20 s is tight on two busy cores: "Timed out while attempting to connect to ephemeral Prefect API".
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "90")
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from copy import copy
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from prefect import Flow, Task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext, TaskRunContext
from prefect.futures import PrefectFuture, wait
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from core import events
from core.elsewhere import sent
from core.errors import AisleError
from core.settings import get_settings
from core.workers import (
    ANSWER_S,
    call_on_scheduler,
    executor,
    follow_parent,
    greet,
    left_alone,
    local_cluster,
    naming_losses,
    naming_unreachable,
)

if TYPE_CHECKING:
    from uuid import UUID

P = ParamSpec("P")
R = TypeVar("R")

Progress = Callable[[str, int, int], None]
"""Called as (what, done, all): when a step starts, and as the parts of a mapped one finish."""

PROGRESS_EVERY = 10
"""Parts between two updates of a progress artifact: each is a request to the server."""

_listeners: list[Progress] = []
_log = logging.getLogger("aisle.orchestration")


def listen(progress: Progress) -> Callable[[], None]:
    """Have `progress` called as mapped steps finish in this process; returns what stops it."""
    _listeners.append(progress)
    return lambda: _listeners.remove(progress)


def tell_progress(step: str, done: int, total: int) -> None:
    """Tell whoever listens how far a step is that works on its parts by itself."""
    for progress in _listeners:
        progress(step, done, total)


def under_prefect() -> bool:
    """Whether a flow or task run is active here."""
    return FlowRunContext.get() is not None or TaskRunContext.get() is not None


class Step(Task[P, R]):
    """A Prefect task that needs no server when no flow run is active."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run as a task of the active flow run, or the function itself."""
        self._told(None, 0, 1)
        result = super().__call__(*args, **kwargs) if under_prefect() else self.fn(*args, **kwargs)
        return self._told(result, 1, 1)

    @contextmanager
    def beside(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[Future[R]]:
        """Run in a thread of this process while the block works on what does not need it; behind the block it is done.

        Ask the future for the result behind the block: it raises what the step has raised. What the block raises comes
        when the step is done, with a note of the step's own error where it has one.
        """
        here = copy_context()  # the settings and the flow run in force here are in force in the thread
        with ThreadPoolExecutor(1, thread_name_prefix="aisle-beside") as pool:
            future = pool.submit(here.run, partial(self, *args, **kwargs))
            try:
                yield future
            except BaseException as error:
                if (own := _outlasted(future)) is not None:
                    error.add_note(f"and '{self.name}', beside it: {own!r}")
                raise
            _outlasted(future)

    def each(self, items: Iterable[Any], *, shared: Path, **fixed: Any) -> list[R]:
        """The results for every item in order, worked on side by side; `fixed` arguments go to each.

        Items and arguments name files, and `shared` is the folder that workers of other processes have to see.
        Raises the first error; nothing more begins then.
        """
        todo = list(items)
        with naming_losses():
            return self._each_as_tasks(todo, shared, fixed) if under_prefect() else self._each_here(todo, shared, fixed)

    def _each_here(self, todo: list[Any], shared: Path, fixed: dict[str, Any]) -> list[R]:
        with self._for(get_settings().runner == "threads", shared) as function, executor() as pool:
            futures = [pool.submit(function, item, **fixed) for item in todo]
            return [self._told(future.result(), done, len(todo)) for done, future in enumerate(futures, 1)]

    def _each_as_tasks(self, todo: list[Any], shared: Path, fixed: dict[str, Any]) -> list[R]:
        shown = _Progress(str(self.name), len(todo))
        with self._for(_runs_here(), shared) as function, _reachable_from_workers():
            # A copy of this task, with the function that may be sent.
            task = copy(self)
            task.fn = function
            futures = [task.submit(item, **fixed) for item in todo]
            try:
                return [self._taken(future, done, shown) for done, future in enumerate(futures, 1)]
            except Exception:
                wait(futures)
                raise

    @contextmanager
    def _for(self, here: bool, shared: Path) -> Iterator[Callable[..., R]]:
        """This step's function: itself for this process, or one that can be sent to others."""
        if here:
            yield self.fn
        else:
            with sent(self.fn.__module__, self.fn.__name__, shared) as function:
                yield function

    def _taken(self, future: PrefectFuture[R], done: int, shown: _Progress) -> R:
        result = self._told(future.result(), done, shown.total)
        if done == shown.total or done % PROGRESS_EVERY == 0:
            shown.update(done)
        return cast("R", result)

    def _told(self, result: Any, done: int, total: int) -> Any:
        tell_progress(str(self.name), done, total)
        return result


def _outlasted(future: Future[Any]) -> BaseException | None:
    """Wait until a step is done, also when interrupted: nothing goes on behind a run that was given up."""
    interrupted: KeyboardInterrupt | None = None
    while not future.done():
        try:
            future.exception()
        except KeyboardInterrupt as error:
            interrupted = error
    if interrupted is not None:
        raise interrupted
    return future.exception()


class _Progress:
    """A progress artifact of the active run. It is for eyes: a server that cannot take it stops no work."""

    def __init__(self, name: str, total: int) -> None:
        from prefect.artifacts import create_progress_artifact

        self.total = total
        key, description = name.replace(" ", "-"), f"{name}: {total} parts"
        self.id = self._attempt(lambda: create_progress_artifact(0.0, key=key, description=description))

    def update(self, done: int) -> None:
        """Show how many parts are done."""
        from prefect.artifacts import update_progress_artifact

        artifact = self.id
        if artifact is not None:
            self._attempt(lambda: update_progress_artifact(artifact, progress=100.0 * done / self.total))

    def _attempt(self, call: Callable[[], Any]) -> UUID | None:
        try:
            return cast("UUID | None", call())
        except Exception as error:  # noqa: BLE001 - whatever a server may answer
            _log.warning("progress is not shown: %s", error)
            return None


def _retry_if_it_may_pass(_task: Any, _run: Any, state: Any) -> bool:
    """Bad data stays bad: only what is not one of our named errors is tried again."""
    try:
        state.result()
    except AisleError:
        return False
    except Exception:  # noqa: BLE001 - whatever else failed may pass
        return True
    return False


def step(name: str, *, retries: int = 0) -> Callable[[Callable[P, R]], Step[P, R]]:
    """Declare a step. `retries` is for what can fail for a while, like a network; named errors are never retried."""

    def declare(function: Callable[P, R]) -> Step[P, R]:
        return Step(
            fn=function,
            name=name,
            retries=retries,
            retry_delay_seconds=[1.0, 5.0][:retries] or 0,
            retry_condition_fn=_retry_if_it_may_pass if retries else None,
            cache_policy=NO_CACHE,
            # Results are frames and paths of this machine: nothing to keep on the server.
            persist_result=False,
        )

    return declare


def task_runner() -> TaskRunner[Any]:
    """The runner that AISLE_RUNNER names, for `@flow(task_runner=...)`. It starts nothing before it is needed."""
    settings = get_settings()
    if settings.runner == "processes":
        return ProcessPoolTaskRunner(max_workers=settings.workers, initializer=follow_parent)
    if settings.runner == "dask":
        with naming_unreachable():
            from prefect_dask.task_runners import DaskTaskRunner
        if settings.dask_address:
            return DaskTaskRunner(address=settings.dask_address, client_kwargs={"timeout": ANSWER_S})
        return DaskTaskRunner(cluster_class=local_cluster)
    return ThreadPoolTaskRunner(max_workers=settings.workers)


def _active_runner() -> TaskRunner[Any] | None:
    active = FlowRunContext.get()
    return None if active is None else active.task_runner


def _runs_here() -> bool:
    return isinstance(_active_runner(), ThreadPoolTaskRunner)


@contextmanager
def _reachable_from_workers() -> Iterator[None]:
    """Tell workers of other processes which Prefect server this is: each would start one of its own."""
    active = FlowRunContext.get()
    if active is None or _runs_here():
        yield
        return
    with ExitStack() as open_now:
        if get_settings().runner == "dask":
            call_on_scheduler()
            with naming_unreachable():
                client = active.task_runner.client  # type: ignore[attr-defined]  # it connects, or starts the cluster
            greet(client)
            open_now.enter_context(left_alone(client))
        open_now.enter_context(temporary_settings({PREFECT_API_URL: str(active.client.api_url)}))
        yield


def run_flow(flow: Flow[..., R], *args: Any, with_prefect: bool = False, **kwargs: Any) -> R:
    """Run a flow: as a flow run with `with_prefect` or PREFECT_API_URL set, else its function in this process."""
    called = flow if with_prefect or os.environ.get("PREFECT_API_URL") else flow.fn
    return called(*args, **kwargs)


def part(flow: Flow[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a flow from within a flow: a subflow run under Prefect, its function in this process otherwise."""
    called = flow if under_prefect() else flow.fn
    return called(*args, **kwargs)


def run_name() -> str:
    """Name of the active flow run: flow, catalogue and batch, `nightly demo 2026-11-21.jsonl.gz (+2 more)`."""
    from prefect.runtime import flow_run

    given = flow_run.parameters
    source = given.get("source") or []
    batch = PurePosixPath(source[0]).name if source else ""
    more = f" (+{len(source) - 1} more)" if len(source) > 1 else ""
    return f"{flow_run.flow_name} {given['catalog']} {batch}{more}".strip()


def artifact_table(key: str, rows: list[dict[str, Any]], description: str) -> None:
    """Keep a table as a Prefect artifact of the active run; nothing without one."""
    if under_prefect():
        from prefect.artifacts import create_table_artifact

        create_table_artifact(key=artifact_key(key), table=rows, description=description)


def artifact_key(key: str) -> str:
    """A key that Prefect takes: of a catalogue's name it refuses the underscores."""
    return key.replace("_", "-")


def _as_prefect_event(event: events.Event) -> None:
    """Send an event to the server of the active run, where automations may wait for it; nothing without one."""
    if under_prefect():
        from prefect.events import emit_event

        told = event.as_dict()
        emit_event(
            event.event,
            resource={"prefect.resource.id": event.resource, "prefect.resource.name": event.catalog},
            occurred=event.time,
            payload={name: told[name] for name in ("catalog", "run_id", "summary", "facts")},
        )


events.deliver_by(_as_prefect_event)
