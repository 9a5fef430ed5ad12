"""Who works on the parts of a mapped step: threads, processes of this machine, or a Dask cluster."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, cast

from core.errors import AisleError, ClusterUnreachable, RunnerError, WorkerDiffers, WorkersLost
from core.settings import get_settings

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from distributed import Client, LocalCluster, Worker

# Before distributed is imported, here and in the processes that it starts: what it does is no news.
os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")

ANSWER_S = 5.0
"""Seconds that a scheduler has to answer."""

WORKER_S = 300.0
"""Seconds until a cluster must have a worker: one that scales itself may have to start a machine."""


WATCH_S = 5.0
"""Seconds between looks whether a cluster still has a worker."""


@contextmanager
def executor() -> Iterator[Executor]:
    """What AISLE_RUNNER names, for the time of one mapped step.

    Raises:
        RunnerError: it needs packages that are not installed.
        ClusterUnreachable: the scheduler does not answer, or has no worker.
    """
    settings = get_settings()
    with ExitStack() as open_now:
        pool: Executor
        if settings.runner == "threads":
            pool = open_now.enter_context(ThreadPoolExecutor(settings.workers))
        elif settings.runner == "processes":
            spawned = multiprocessing.get_context("spawn")
            pool = open_now.enter_context(ProcessPoolExecutor(settings.workers, spawned, initializer=follow_parent))
        else:
            client = open_now.enter_context(_connected(open_now.enter_context(_cluster())))
            greet(client)
            open_now.enter_context(left_alone(client))
            pool = _pool(client)
        try:
            yield pool
        except BaseException:
            # Nothing more begins. A cluster's workers cannot be waited for: they may be the reason.
            pool.shutdown(wait=False) if settings.runner == "dask" else pool.shutdown(cancel_futures=True)
            raise


def follow_parent() -> None:
    """Have this process end with its parent, which cannot tell it to when it is killed, and leave interrupts to it."""
    os.setpgrp()  # a terminal interrupts a whole group; to ignore it would not do, as Polars puts a handler of its own
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True, name="end with parent").start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def dask_setup(_worker: Worker) -> None:
    """Leave interrupts to the parent; Dask calls this in each worker of `local_cluster`, which ends with its parent."""
    os.setpgrp()


def local_cluster() -> LocalCluster:
    """A Dask cluster of AISLE_WORKERS processes on this machine. Nobody but this machine reaches it; no dashboard."""
    import dask.config
    from distributed import LocalCluster

    return LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=get_settings().workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # there is none; its port would be taken all the same
        memory_limit=0,  # Dask would end a worker that takes its share of the memory, and no part gets smaller by that
        silence_logs=logging.ERROR,
        preload=[*dask.config.get("distributed.worker.preload"), __name__],
    )


def call_on_scheduler() -> None:
    """See whether a Dask scheduler answers at AISLE_DASK_ADDRESS, if one is named.

    A client that finds something else there leaves behind what delays the end of the process.

    Raises:
        RunnerError: Dask is not installed.
        ClusterUnreachable: nothing answers, or something else.
    """
    if address := get_settings().dask_address:
        with naming_unreachable(), ThreadPoolExecutor(1) as beside:  # this thread may have an event loop
            beside.submit(asyncio.run, _call(address)).result()


async def _call(address: str) -> None:
    from distributed.comm.core import connect
    from distributed.security import Security

    how = Security().get_connection_args("client")  # type: ignore[no-untyped-call]
    comm = await connect(address, timeout=ANSWER_S, **how)  # type: ignore[no-untyped-call]
    await comm.close()


def greet(client: Client) -> None:
    """Have a worker do an empty piece of work: a cluster that scales itself starts a worker for that.

    Raises:
        ClusterUnreachable: no worker came to do it.
    """
    try:
        client.submit(int, pure=False).result(timeout=WORKER_S)
    except TimeoutError as error:
        raise ClusterUnreachable(
            f"the cluster has no worker that is free within {WORKER_S:g} s",
            where=_address(),
            hint="start one: dask worker ADDRESS",
        ) from error


@contextmanager
def left_alone(client: Client) -> Iterator[None]:
    """Give up what a cluster without workers would keep for ever: after WORKER_S seconds without one."""
    ended = threading.Event()

    def watch() -> None:
        alone_since: float | None = None
        while not ended.wait(min(WATCH_S, WORKER_S)):
            try:
                alone = not client.nthreads()  # type: ignore[no-untyped-call]
            except Exception:  # noqa: BLE001 - a scheduler that is gone ends the work by itself
                return
            alone_since = (alone_since or time.monotonic()) if alone else None
            if alone_since is not None and time.monotonic() - alone_since >= WORKER_S:
                client.close()  # type: ignore[no-untyped-call]
                return

    watching = threading.Thread(target=watch, daemon=True, name="watch for workers")
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()


@contextmanager
def naming_unreachable() -> Iterator[None]:
    """Name what goes wrong on the way to a cluster."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise RunnerError(
            f"AISLE_RUNNER=dask needs {error.name}, which this installation lacks",
            hint="install it in Aisle's folder: .venv/bin/pip install -e '.[dask]'",
        ) from error
    except Exception as error:  # whatever answers there
        raise ClusterUnreachable(
            f"no Dask scheduler answers ({' '.join(str(error).split())})",
            where=_address(),
            hint="check AISLE_DASK_ADDRESS (tcp://HOST:8786), and that the scheduler runs",
        ) from error


@contextmanager
def naming_losses() -> Iterator[None]:
    """Name what became of workers, where the parts that they worked on do not come back."""
    try:
        yield
    except AisleError:
        raise
    except BrokenProcessPool as error:
        raise WorkersLost(
            "a worker process was killed, maybe for the memory that it took",
            where="AISLE_RUNNER=processes",
            hint="run it again: nothing was changed; set AISLE_WORKERS or AISLE_BATCH_ROWS lower if it happens again",
        ) from error
    except (Exception, CancelledError) as error:
        named = _as_named(error)
        if named is None:
            raise
        raise named from error


def _as_named(error: BaseException) -> AisleError | None:
    where = _address()
    if get_settings().runner != "dask":
        return None
    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    if isinstance(error, KilledWorker):
        return WorkersLost(
            "a part was given up after several workers died while they had it",
            where=where,
            hint="see the workers' logs; if it is memory, set AISLE_BATCH_ROWS lower. Nothing was changed",
        )
    if isinstance(error, CommClosedError | CancelledError):
        return ClusterUnreachable(
            f"the scheduler is gone, or has had no worker for {WORKER_S:g} s",
            where=where,
            hint="run it again when it is back: nothing was changed",
        )
    if isinstance(error, ModuleNotFoundError) or "deserializ" in str(error):
        return WorkerDiffers(
            f"scheduler or workers cannot read what they are sent ({error.__cause__ or error})",
            where=where,
            hint="install Aisle there from the same lock as here, and restart them",
        )
    return None


@contextmanager
def _cluster() -> Iterator[LocalCluster | str]:
    address = get_settings().dask_address
    if address:
        call_on_scheduler()
        yield address
        return
    with naming_unreachable():
        cluster = local_cluster()
    with cluster:
        yield cluster


@contextmanager
def _connected(cluster: LocalCluster | str) -> Iterator[Client]:
    with naming_unreachable():
        from distributed import Client

        client = Client(cluster, timeout=ANSWER_S, set_as_default=False)  # type: ignore[no-untyped-call]
    with client:
        yield client


def _pool(client: Client) -> Executor:
    return cast("Executor", client.get_executor(pure=False))  # type: ignore[no-untyped-call]


def _address() -> str:
    return get_settings().dask_address or "a Dask cluster on this machine"
