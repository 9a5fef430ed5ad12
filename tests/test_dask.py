"""Parts worked on by threads, processes and Dask clusters: the same rows, whatever dies, and named errors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import dask
import polars as pl
import psutil
import pytest
from distributed import LocalCluster

from catalogs import registry
from catalogs.demo import generate
from catalogs.lines import ahead
from core import workers
from core.elsewhere import Sent, sent, versions
from core.errors import ClusterUnreachable, NotShared, RunnerError, WorkerDiffers, WorkersLost
from core.settings import Settings, get_settings
from flows.ingest import ingest
from flows.score import score
from flows.train import train
from tests import at_work, stored
from tests.at_work import die, double
from tests.conftest import PROJECT
from warehouse.home import get_home
from warehouse.ingest import Stage, staged_folder, store
from warehouse.query import query
from warehouse.runs import open_run

SAME = {
    "products": "SELECT * EXCLUDE (run_id, stored_at) FROM products ORDER BY catalog, product_id",
    "predictions": "SELECT * EXCLUDE (run_id, scored_at) FROM predictions ORDER BY catalog, product_id",
    "history": "SELECT * EXCLUDE (run_id, scored_at) FROM predictions_history ORDER BY ALL",
    "rejects": "SELECT * EXCLUDE (run_id, rejected_at) FROM rejects ORDER BY ALL",
    "conflicts": "SELECT * EXCLUDE (run_id) FROM conflicts ORDER BY ALL",
    "conservation": "SELECT * EXCLUDE (run_id) FROM conservation ORDER BY ALL",
}
"""What must not depend on who worked."""


@pytest.fixture(scope="module")
def deaths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where deaths of workers are ordered."""
    return tmp_path_factory.mktemp("deaths")


@pytest.fixture(scope="module")
def cluster(deaths: Path) -> Iterator[LocalCluster]:
    """Workers that were started without any setting of the runs that they will work for, and die if that is ordered."""
    loads = dask.config.set({"distributed.worker.preload": [at_work.__name__]})
    with pytest.MonkeyPatch.context() as environment, loads:
        environment.setenv(at_work.DEATHS, str(deaths))
        for name in [name for name in os.environ if name.startswith("AISLE_")]:
            environment.delenv(name)
        get_settings.cache_clear()
        with workers.local_cluster() as running:
            yield running
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a home that has a champion, three files of the next night, and a catalogue of its own."""
    folder = tmp_path_factory.mktemp("before")
    (folder / "catalogues").mkdir()
    shutil.copyfile(registry.BUILTIN / "demo.toml", folder / "catalogues" / "stall.toml")
    days = [generate(folder / "source", rows=900, seed=day, day=day) for day in range(4)]
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith(("AISLE_", "PREFECT_"))]:
            environment.delenv(name)
        environment.setenv("AISLE_HOME", str(folder / "var"))
        environment.setenv("AISLE_CATALOGS", str(folder / "catalogues"))
        get_settings.cache_clear()
        ingest.fn("stall", [str(days[0])])
        train.fn("stall", recipe="linear-fast")
        days[0].unlink()
        yield folder
    get_settings.cache_clear()


def use(monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
    """Set AISLE_* variables."""
    for name, value in settings.items():
        monkeypatch.setenv(f"AISLE_{name.upper()}", str(value))
    get_settings.cache_clear()


def night(monkeypatch: pytest.MonkeyPatch, before: Path, home: Path, **settings: object) -> dict[str, list[object]]:
    """Ingest three files and score what they bring, in small parts; gives what people see afterwards."""
    shutil.copytree(before / "var", home)
    use(monkeypatch, home=home, catalogs=before / "catalogues", batch_rows=100, **settings)
    read = ingest.fn("stall", [str(before / "source")])
    scored = score.fn("stall")
    assert read.rows["read"] > 2_000
    assert scored.rows["scored"] > 3 * 100, "several partitions"
    return seen()


def stored_ids() -> list[object]:
    return [row["product_id"] for row in query(get_home(), "SELECT product_id FROM products ORDER BY ALL").as_dicts()]


def seen() -> dict[str, list[object]]:
    return {name: query(get_home(), sql).as_dicts() for name, sql in SAME.items()}


@pytest.fixture(scope="module")
def threaded(before: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    """What threads make of the night."""
    with pytest.MonkeyPatch.context() as environment:
        return night(environment, before, tmp_path_factory.mktemp("threaded") / "var", runner="threads")


@pytest.mark.slow
def test_processes_give_the_same_rows_as_threads(home: Path, before: Path, threaded, monkeypatch):
    assert night(monkeypatch, before, home, runner="processes") == threaded


def test_a_cluster_gives_the_same_rows_as_threads(home: Path, before: Path, threaded, cluster, monkeypatch):
    """Its workers know neither home nor catalogue nor batch size: all that comes along."""
    assert night(monkeypatch, before, home, runner="dask", dask_address=cluster.scheduler_address) == threaded


@pytest.mark.slow
def test_killed_workers_cost_a_retry_and_not_a_row(
    home: Path, before: Path, threaded, cluster: LocalCluster, deaths: Path, monkeypatch
):
    """One worker dies between two batches of a file, and one before it can tell what it scored."""
    order(deaths)
    assert night(monkeypatch, before, home, runner="dask", dask_address=cluster.scheduler_address) == threaded
    assert not list(deaths.iterdir()), "both have died"


def order(deaths: Path) -> None:
    for point in ("reading", "scoring"):
        (deaths / point).touch()


def test_a_cluster_of_its_own_ends_with_the_step(home: Path, tmp_path: Path, monkeypatch):
    def children() -> set[int]:
        return {child.pid for child in psutil.Process().children(recursive=True)}

    others = children()
    use(monkeypatch, runner="dask", workers=1)
    assert double.each([1, 2, 3], shared=tmp_path) == [2, 4, 6]
    assert children() <= others


def test_nobody_but_this_machine_reaches_a_cluster_of_its_own(cluster: LocalCluster):
    this = psutil.Process()
    listening = [
        connection.laddr.ip
        for process in (this, *this.children(recursive=True))
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3, "a scheduler and two workers"
    assert set(listening) == {"127.0.0.1"}


def test_results_come_in_the_order_of_the_items(home: Path, tmp_path: Path, cluster, monkeypatch):
    use(monkeypatch, runner="dask", dask_address=cluster.scheduler_address)
    assert double.each(range(20), shared=tmp_path) == list(range(0, 40, 2))
    assert not list(tmp_path.iterdir()), "what was laid down for workers to see is gone"


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "carrier-pigeon://127.0.0.1:8786"])
def test_a_wrong_address_is_named(home: Path, tmp_path: Path, monkeypatch, address: str):
    use(monkeypatch, runner="dask", dask_address=address)
    with pytest.raises(ClusterUnreachable, match="AISLE_DASK_ADDRESS") as refused:
        double.each([1], shared=tmp_path)
    assert refused.value.where == address


def test_the_command_names_a_wrong_address_and_changes_nothing(home: Path, before: Path, aisle, monkeypatch):
    use(monkeypatch, catalogs=before / "catalogues", runner="dask", dask_address="nowhere")
    code, out, err = aisle("ingest", "stall", str(before / "source"), "--json")
    assert code == 1
    assert json.loads(out)["error"] == "ClusterUnreachable"
    assert err.startswith("error: nowhere: no Dask scheduler answers")
    assert not (home / "warehouse.duckdb").exists()


def test_a_cluster_without_workers_is_named(home: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(workers, "WORKER_S", 0.5)
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as idle:
        use(monkeypatch, runner="dask", dask_address=idle.scheduler_address)
        with pytest.raises(ClusterUnreachable, match="no worker"):
            double.each([1], shared=tmp_path)


def test_a_cluster_that_loses_its_workers_is_not_waited_for_for_ever(home: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(workers, "WORKER_S", 2.0)
    with LocalCluster(n_workers=1, host="127.0.0.1", dashboard_address=None, silence_logs=50) as shrinking:
        use(monkeypatch, runner="dask", dask_address=shrinking.scheduler_address)
        with workers.executor() as pool:
            waiting = pool.submit(time.sleep, 120)
            shrinking.scale(0)
            with pytest.raises(CancelledError):
                waiting.result(timeout=100)


def test_without_dask_it_says_which_extra(home: Path, tmp_path: Path, monkeypatch):
    use(monkeypatch, runner="dask")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(RunnerError, match=r"pip install -e '\.\[dask\]'"):
        double.each([1], shared=tmp_path)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no folder here that only one process sees")
@pytest.mark.parametrize("hidden", ["home", "source", "catalogs"])
def test_what_workers_do_not_see_is_named(home: Path, before: Path, tmp_path, cluster, monkeypatch, hidden: str):
    """/proc/self/fd/N is a folder in the process that opened it, and nothing in any other."""
    folder = os.open(tmp_path, os.O_RDONLY)
    here = Path(f"/proc/self/fd/{folder}")
    try:
        shutil.copytree(before / "source", tmp_path / "source")
        shutil.copytree(before / "catalogues", tmp_path / "catalogs")
        paths = {"home": home, "source": before / "source", "catalogs": before / "catalogues"} | {hidden: here / hidden}
        source = str(paths.pop("source"))
        use(monkeypatch, **paths, runner="dask", dask_address=cluster.scheduler_address)
        with pytest.raises(NotShared, match="shared file system") as refused:
            ingest.fn("stall", [source])
    finally:
        os.close(folder)
    assert f"does not see {here / hidden}" in refused.value.message


def test_a_worker_with_another_version_is_named(home: Path, tmp_path: Path):
    with sent(at_work.__name__, "double", tmp_path) as function:
        assert function(2) == 4
        other = Sent(at_work.__name__, "double", function.settings, versions() | {"polars": "0.1"}, function.proof)
        with pytest.raises(WorkerDiffers, match=r"polars .*, not 0\.1"):
            other(2)


def test_a_worker_that_lacks_the_code_is_named(home: Path, tmp_path: Path, cluster, monkeypatch):
    (tmp_path / "only_here.py").write_text(
        "from core.orchestration import step\n\n@step('sum')\ndef total(of):\n    return of\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    use(monkeypatch, runner="dask", dask_address=cluster.scheduler_address)
    with pytest.raises(WorkerDiffers, match="No module named 'only_here'"):
        only_here.total.each([1], shared=tmp_path)


@pytest.mark.parametrize("runner", ["processes", pytest.param("dask", marks=pytest.mark.slow)])
def test_a_part_that_kills_its_workers_is_given_up(home: Path, tmp_path: Path, monkeypatch, runner: str):
    use(monkeypatch, runner=runner, workers=1)
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), pytest.raises(WorkersLost):
        die.each([1], shared=tmp_path)


def test_settings_that_were_sent_are_in_force_in_threads_too(home: Path):
    def asked() -> Iterator[int]:
        for _ in range(3):
            yield get_settings().batch_rows

    with get_settings.sent(Settings(batch_rows=123)):
        assert list(ahead(asked())) == [123, 123, 123]
    assert list(ahead(asked())) == [25_000] * 3


def test_keys_of_the_api_are_not_sent(home: Path, tmp_path: Path, monkeypatch):
    use(monkeypatch, api_keys="a key of sixteen letters or more")
    with sent(at_work.__name__, "double", tmp_path) as function:
        assert function.settings.api_keys is None


@pytest.fixture
def shelf(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, catalogs=stored.SHELVES)


def test_what_workers_of_a_killed_run_still_write_is_in_no_later_run(shelf: None):
    with open_run("shelf", "ingest", ["shelf.jsonl"]) as killed:
        folder = staged_folder(killed)
        stored.ingest(killed, [("1", "a lamp", None)])
    with open_run("shelf", "ingest", ["shelf.jsonl"]) as run:
        Stage(folder, 7).write(stored.frame([("2", "an orphan", None)]), pl.DataFrame())
        stored.ingest(run, [("3", "a table", None)])
    assert stored_ids() == ["1", "3"]


@pytest.mark.parametrize("kind", ["good", "rejects"])
def test_staged_rows_that_are_not_to_be_seen_are_missed(shelf: None, kind: str):
    """A network file system may show late what another machine wrote."""
    with open_run("shelf", "ingest", ["shelf.jsonl"]) as run:
        stored.ingest(run, [("1", "a lamp", None)])

    def lose_some() -> None:
        with open_run("shelf", "ingest", ["shelf.jsonl"]) as run:
            staged = stored.stage(run, [("2", "a table", None)], bad=2)
            next(staged_folder(run).glob(f"{kind}-*")).unlink()
            store(run, stored.spec(), staged)

    with pytest.raises(NotShared, match=kind):
        lose_some()
    assert stored_ids() == ["1"]


UNDER_PREFECT = """
import json, sys
from core.orchestration import run_flow
from flows.ingest import ingest
from flows.score import score
if __name__ == "__main__":
    run_flow(ingest, "stall", [sys.argv[1]], with_prefect=True)
    run_flow(score, "stall", with_prefect=True)
    from prefect.client.orchestration import get_client
    with get_client(sync_client=True) as client:
        tasks = [(run.name.rsplit("-", 1)[0], run.state_name) for run in client.read_task_runs(limit=200)]
    print(json.dumps(tasks))
"""


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["processes", "dask", "an address", "killed workers"])
def test_under_prefect_the_rows_are_the_same(
    home: Path, before: Path, tmp_path: Path, threaded, cluster, deaths: Path, monkeypatch, runner: str
):
    """A real, ephemeral server, which the workers of this flow run tell of their task runs."""
    shutil.copytree(before / "var", home)
    use(monkeypatch, home=home, catalogs=before / "catalogues", batch_rows=100)
    use(monkeypatch, runner="processes" if runner == "processes" else "dask")
    if runner == "an address":
        use(monkeypatch, dask_address=cluster.scheduler_address)
    if runner == "killed workers":
        order(deaths)
        monkeypatch.setenv(at_work.DEATHS, str(deaths))
        monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", f"['{at_work.__name__}']")
    script = tmp_path / "script.py"
    script.write_text(UNDER_PREFECT)
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONPATH": str(PROJECT)}
    ended = subprocess.run(
        [sys.executable, script, before / "source"], env=environment, capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert seen() == threaded
    tasks = json.loads(ended.stdout.splitlines()[-1])
    assert tasks.count(["read file", "Completed"]) == 3
    assert tasks.count(["score partition", "Completed"]) > 3
    assert {state for _, state in tasks} == {"Completed"}
    assert not list(deaths.iterdir()), "those who were to die have"
