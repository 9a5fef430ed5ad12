"""A home on S3 that loses files: nothing is deleted because it is missing, and what is lost is told by name."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest

from core.errors import HomeUnusable, RunLocked, TableDamaged
from core.settings import get_settings
from tests.s3 import Machines
from tests.stored import SHELVES, ingest, night
from tests.test_s3_home import ROWS, asked
from warehouse import mirror, upkeep
from warehouse.home import get_home
from warehouse.lease import leased
from warehouse.locks import locked
from warehouse.mirror import DAY_S
from warehouse.runs import open_run

IDS = "SELECT catalog, product_id FROM products ORDER BY ALL"


@pytest.fixture
def machines(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    """Machines that share a home with two catalogues; `a` is the one that made it."""
    monkeypatch.setenv("AISLE_CATALOGS", str(SHELVES))
    made = Machines(tmp_path, f"s3://shop/{tmp_path.name}", monkeypatch)
    made.become("a")
    night(ROWS)
    with open_run("other", "ingest", ["x"]) as run:
        ingest(run, ROWS)
    obstore.put(made.store, "models/shelf/v1/manifest.json", b"{}")  # night() registers a model without an artifact
    yield made
    get_settings.cache_clear()


@pytest.mark.parametrize("lost", ["models/shelf", "tables/shelf/products", "tables/shelf/runs/_delta_log", "tables"])
def test_what_is_lost_here_during_a_run_is_not_deleted_in_the_bucket(machines: Machines, lost: str) -> None:
    before = machines.listed()

    def loses() -> None:
        with open_run("shelf", "ingest", ["x"]) as run:
            ingest(run, [("9", "new", None)])
            shutil.rmtree(run.home.root / lost)

    with pytest.raises(TableDamaged, match="copy have gone during a run"):
        loses()
    assert set(before) <= set(machines.listed())
    night([("9", "new", None)])
    assert ("shelf", "9") in asked(IDS)


def test_a_model_that_a_failed_run_left_in_the_bucket_is_deleted_there(machines: Machines) -> None:
    obstore.put(machines.store, "models/shelf/v2/manifest.json", b"{}")
    night([("9", "new", None)])
    assert machines.listed("models") == ["models/shelf/v1/manifest.json"]


def test_tables_that_are_lost_here_are_fetched_anew(machines: Machines) -> None:
    seen = asked(IDS)
    shutil.rmtree(get_home(fresh=False).root / "tables")
    assert asked(IDS) == seen


@pytest.mark.parametrize("part", ["", "tables/shelf/runs", "tables/shelf/products/_delta_log"])
def test_a_catalogue_emptied_in_the_bucket_stays_on_each_machine_and_is_told(
    machines: Machines, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    machines.become("b")
    seen = asked(IDS)
    machines.become("a")
    night([("8", "newer", None)])
    emptied = [key for key in machines.listed() if "/shelf/" in key and key.startswith(part)]
    kept = {key: obstore.get(machines.store, key).bytes() for key in emptied}
    obstore.delete(machines.store, emptied)
    machines.become("b")
    home = get_home(fresh=False)
    here = {path for path in home.root.rglob("*") if "/shelf/" in str(path)}
    assert asked(IDS) == seen
    assert f"{machines.address}/tables/shelf" in caplog.text
    assert "missing in the bucket" in caplog.text
    assert here <= set(home.root.rglob("*"))
    with pytest.raises(TableDamaged, match="missing in the bucket"):
        night(ROWS)
    (damage,) = upkeep.check(home, "shelf").damage
    assert "missing in the bucket" in damage.what
    with open_run("other", "ingest", ["x"]) as run:
        ingest(run, [("9", "new", None)])
    assert asked(IDS) == sorted([*seen, ("other", "9")])
    for key, content in kept.items():
        obstore.put(machines.store, key, content)
    assert ("shelf", "8") in asked(IDS)


def test_an_older_state_that_was_restored_in_the_bucket_is_followed(machines: Machines) -> None:
    older = {key: obstore.get(machines.store, key).bytes() for key in machines.listed() if "/shelf/" in key}
    seen = asked(IDS)
    night([("9", "new", None)])
    obstore.delete(machines.store, [key for key in machines.listed() if "/shelf/" in key and key not in older])
    for name in ("a", "b"):
        machines.become(name)
        assert asked(IDS) == seen
    night([("8", "newer", None)])
    machines.become("a")
    assert asked(IDS) == sorted([*seen, ("shelf", "8")])


def test_what_the_bucket_lost_stays_here_as_long_as_it_is_current(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    (rows,) = [key for key in machines.listed("tables/shelf/products") if "/_" not in key]
    lost = [rows, "models/shelf/v1/manifest.json"]
    night([("9", "new", None)])  # fetches the model, too
    obstore.delete(machines.store, lost)
    home = get_home(fresh=False)
    told = [Path(one.where) for one in upkeep.check(home, "shelf").damage if one.what == upkeep.IN_COPY_ALONE]
    assert sorted(told) == sorted(home.root / key for key in lost)
    later = time.time() + 2 * DAY_S * get_settings().retention_days
    with monkeypatch.context() as clock:
        clock.setattr(time, "time", lambda: later)
        upkeep.check(home, "shelf")
    assert all((home.root / key).is_file() for key in lost)
    assert len(asked(IDS)) == 7


def test_readers_read_what_they_have_while_another_process_copies(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machines.become("b")
    seen = asked(IDS)
    machines.become("a")
    night([("9", "new", None)])
    monkeypatch.setattr(mirror, "COPYING_S", 0.1)
    monkeypatch.setattr(mirror, "READING_S", 0.1)
    machines.become("b")
    with locked(get_home(fresh=False).lock("refresh"), wait_s=0, what="copying"):
        assert asked(IDS) == seen
        assert "until it is done, what it had before is read" in caplog.text
    assert ("shelf", "9") in asked(IDS)
    machines.become("new")
    with (
        locked(get_home(fresh=False).prepare().lock("refresh"), wait_s=0, what="copying"),
        pytest.raises(RunLocked),  # it has nothing to read yet, and waits
    ):
        asked(IDS)


def test_the_longer_lease_of_two_machines_counts(machines: Machines) -> None:
    holder = leased(machines.address, "shelf", "one", lease_s=3600, wait_s=0)
    lease = holder.__enter__()
    try:
        time.sleep(1.1)  # the store's clock counts in seconds
        with pytest.raises(RunLocked), leased(machines.address, "shelf", "two", lease_s=0.01, wait_s=0):
            pass
        lease.check()
    finally:
        holder.__exit__(None, None, None)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[]", b"{}", b'{"holder": "x"}', b'{"holder": "x", "cache": 1, "lease_s": []}']
)
def test_a_lease_that_is_none_is_told_by_name(machines: Machines, content: bytes) -> None:
    obstore.put(machines.store, "locks/run-shelf.json", content)
    with pytest.raises(HomeUnusable, match="is no readable lease") as told:
        night(ROWS)
    assert told.value.where == f"{machines.address}/locks/run-shelf.json"
    obstore.put(machines.store, "locks/run-shelf.json", b'{"holder": null, "recorded": true}')
    night(ROWS)
