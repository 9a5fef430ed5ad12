"""What people do with a home on S3, a machine each: it is seen on the others as in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from obstore.fsspec import FsspecStore

from catalogs.demo import generate
from core.settings import get_settings
from tests.s3 import Machines
from tests.stored import SHELVES, night
from tests.test_s3_home import ROWS, asked
from warehouse.publish import VIEWS

Told = Callable[..., Any]


@pytest.fixture
def machines(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    """Machines that share an empty home."""
    monkeypatch.delenv("AISLE_CATALOGS", raising=False)
    yield Machines(tmp_path, f"s3://shop/{tmp_path.name}", monkeypatch)
    get_settings.cache_clear()


@pytest.fixture
def told(aisle: Any) -> Told:
    """What a command says to machines."""

    def ask(*words: str) -> Any:
        code, out, err = aisle(*words, "--json")
        assert code == 0, (words, err)
        return json.loads(out)

    return ask


def test_the_warehouse_is_read_as_it_was_and_labels_given_elsewhere_win(
    machines: Machines, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AISLE_CATALOGS", str(SHELVES))
    ids = "SELECT product_id FROM products ORDER BY 1"
    machines.become("a")
    night(ROWS)
    then = datetime.now(UTC).isoformat()
    night([("9", "new", None)])
    machines.become("b")
    assert [row["product_id"] for row in told("sql", ids)] == ["1", "2", "3", "9"]
    assert [row["product_id"] for row in told("sql", ids, "--as-of", then)] == ["1", "2", "3"]
    given = tmp_path / "labels.csv"
    given.write_text("catalog,product_id,label\nshelf,3,Books\n")
    told("review", "import", str(given), "--by", "anna")
    machines.become("c")
    assert asked("SELECT label, decision FROM predictions WHERE product_id = '3'") == [("Books", "accepted")]
    assert told("sql", "SELECT label, decision FROM predictions WHERE product_id = '3'", "--as-of", then) == [
        {"label": "Toys", "decision": "review"}
    ]


def test_dated_files_are_taken_in_order_and_another_machine_goes_on_with_them(
    machines: Machines, told: Told, tmp_path: Path
) -> None:
    folder = tmp_path / "days"
    for day in (0, 1):
        generate(folder, 100, day=day)
    machines.become("a")
    first = told("ingest", "demo", str(folder), "--in-order")
    assert [batch["rows"]["read"] for batch in first["batches"]] == [100, 100]
    generate(folder, 100, day=2)
    machines.become("b")
    second = told("ingest", "demo", str(folder), "--in-order")
    assert len(second["done"]) == 2
    assert [batch["rows"]["read"] for batch in second["batches"]] == [100]
    machines.become("c")
    assert asked("SELECT count(*), bool_and(balanced) FROM conservation") == [(3, True)]


def test_views_over_the_bucket_itself_show_the_same_as_the_copy(
    machines: Machines, told: Told, aisle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AISLE_CATALOGS", str(SHELVES))
    root = machines.become("a's")
    night(ROWS, bad=1)
    script = Path(told("publish", "--s3")["s3_views"]).read_text()
    assert str(root) not in script
    with duckdb.connect() as connection:
        connection.register_filesystem(FsspecStore("s3"))  # reads the server, as the extension httpfs does
        connection.execute(f"SET TimeZone = 'UTC'; {script}")
        for view in VIEWS:
            rows = connection.execute(f"SELECT * FROM {view} ORDER BY ALL").fetchall()
            assert rows == asked(f"SELECT * FROM {view} ORDER BY ALL"), view
        assert connection.execute("SELECT count(*) FROM predictions").fetchall() == [(3,)]
    monkeypatch.setenv("AISLE_HOME", str(tmp_path / "folder"))
    get_settings.cache_clear()
    night(ROWS)
    code, _, err = aisle("publish", "--s3")
    assert code == 1
    assert "is a folder" in err


@pytest.mark.slow
def test_a_backfill_on_another_machine_answers_for_what_was_stored_then(
    machines: Machines, told: Told, tmp_path: Path
) -> None:
    machines.become("a")
    told("run", "demo", str(generate(tmp_path, 600)))
    since = datetime.now(UTC)
    told("ingest", "demo", str(generate(tmp_path, 300, day=1)))
    machines.become("b")
    (pending,) = asked("SELECT sum(pending) FROM conservation")[0]
    assert pending > 0
    until = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    done = told("score", "demo", "--since", since.isoformat(), "--until", until, "--model", "v1")
    assert done["rows"]["scored"] == pending
    machines.become("c")
    backfilled = f"SELECT count(*) FROM predictions_history WHERE scored_at > TIMESTAMPTZ '{since.isoformat()}'"
    assert asked(backfilled) == [(pending,)]
