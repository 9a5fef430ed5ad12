"""Memory: what decides about all rows at once works within AISLE_MEMORY_LIMIT, and what was freed is given back."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from core.settings import get_settings
from tests.stored import LengthModel, crown, night, score, spec
from warehouse.home import get_home
from warehouse.ingest import Stage, Staged, staged_folder, store
from warehouse.query import query
from warehouse.registry import note, overrule
from warehouse.rollback import take_back
from warehouse.runs import open_run
from warehouse.scoring import training_rows

BATCH, BATCHES = 50_000, 10

FREED = """
from core.memory import give_back
from tests.resident import resident_mib

held = [b"x" * (100_000 + number) for number in range(3_000)]
last = held[-1]  # what is freed lies below it
held.clear()
before = resident_mib()
give_back()
print(before - resident_mib())
"""

# Products of 20 KB, 600 MB of them, are stored; how many, and by how many MiB the most that was held has grown.
LONG = """
import resource
import polars as pl
from tests.stored import spec
from tests.test_memory import batch
from warehouse.ingest import Stage, Staged, staged_folder, store
from warehouse.runs import open_run

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

with open_run("shelf", "ingest", ["shelf.jsonl"]) as run:
    stage = Stage(staged_folder(run), 0)
    for number in range(12):
        rows = batch(number, 2_500).with_columns(title=pl.col("title").repeat_by(140).list.join(" "))
        stage.write(rows, pl.DataFrame())
    del rows
    before = peak_mib()
    store(run, spec(), [Staged("shelf.jsonl", 30_000, 0, {})])
    print(run.counts["stored"], peak_mib() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc holds back what was freed")
def test_what_was_freed_can_be_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 200


def batch(number: int, rows: int) -> pl.DataFrame:
    """Products with hashes as long and as unlike as real ones."""
    frame = pl.DataFrame({"source_row": pl.int_range(1, rows + 1, dtype=pl.Int64, eager=True) + number * BATCH})
    name = pl.format("{}", "source_row")
    hashed = {what: pl.format(f"{what}{{}}", "source_row").hash() for what in ("a", "b", "c", "d")}
    digest = pl.concat_str([pl.format("{}", value).str.zfill(20) for value in hashed.values()]).str.slice(0, 64)
    return frame.with_columns(
        source_file=pl.lit("shelf.jsonl"),
        product_id=pl.format("product-{}", "source_row"),
        known_path=pl.lit(["Toys"]),
        title=name + " " + digest + digest,
        text_hash=digest.str.slice(0, 32),
        feature_hash=digest,
        row_hash=digest.str.reverse(),
    )


class Verbose(LengthModel):
    """A model that gives as many reasons as a real one."""

    def predict(self, rows: pl.DataFrame, *, threads: int | None = None) -> pl.DataFrame:
        token = rows["title"].str.slice(0, 20)
        why = pl.concat_list(
            [pl.struct(token=token + str(n), field=pl.lit("title"), weight=pl.lit(n / 7)) for n in range(5)]
        )
        return super().predict(rows, threads=threads).with_columns(reasons=why)


def stored(batches: list[tuple[int, int]]) -> int:
    """Store batches, each a number and how many rows, in one run; gives how many were news."""
    with open_run("shelf", "ingest", ["shelf.jsonl"]) as run:
        stage = Stage(staged_folder(run), 0)
        for number, rows in batches:
            stage.write(batch(number, rows), pl.DataFrame(schema={"source_file": pl.String}))
        store(run, spec(), [Staged("shelf.jsonl", sum(rows for _, rows in batches), 0, {})])
        return run.counts["stored"]


@pytest.mark.usefixtures("shelves")
def test_many_rows_are_compared_in_little_memory_whatever_the_first_file_has(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB takes all files to be as long as the first, and plans by that: with a short one it ran out of memory."""
    monkeypatch.setenv("AISLE_MEMORY_LIMIT", "200MB")
    get_settings.cache_clear()
    batches = [(0, 10), *((number, BATCH) for number in range(1, BATCHES + 1))]
    rows = 10 + BATCH * BATCHES
    assert [stored(batches), stored(batches)] == [rows, 0]
    assert query(get_home(), "SELECT count(*) FROM products").rows == [(rows,)]
    with open_run("shelf", "train") as run:
        chosen = training_rows(run, spec())
        assert chosen.height == rows
        assert chosen["title"].str.split(" ").list.first().cast(pl.Int64).is_sorted()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is told in another unit")
@pytest.mark.usefixtures("shelves")
def test_long_products_are_stored_a_few_at_a_time(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AISLE_MEMORY_LIMIT", "200MB")
    done = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    stored_rows, grown_mib = map(int, done.stdout.split())
    assert stored_rows == 30_000
    assert grown_mib < 450


@pytest.mark.slow
@pytest.mark.usefixtures("shelves")
def test_answers_that_were_given_before_are_taken_back_in_little_memory(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a scoring and by a rollback: answers with their reasons are joined to all that the state says beside them."""
    monkeypatch.setenv("AISLE_MEMORY_LIMIT", "160MB")
    get_settings.cache_clear()
    rows = BATCH * BATCHES
    assert stored([(number, BATCH) for number in range(BATCHES)]) == rows
    for version in ("v1", "v2"):
        with open_run("shelf", "score") as run:
            crown(run, version, f"digest of {version}")
            assert score(run, Verbose()).counts == {"scored": rows, "reused": 0}
    with open_run("shelf", "score") as run:
        note(run, "promoted", "v1", "it was better")
        assert score(run, Verbose()).counts == {"scored": 0, "reused": rows}
    assert query(get_home(), "SELECT model_version, count(*) FROM predictions GROUP BY ALL").rows == [("v1", rows)]
    night([("product-1", "new", "Toys")], model=Verbose())  # so that no earlier state is that of now
    with open_run("shelf", "models rollback") as run:
        assert take_back(run, overrule(run, "rolled_back", "v2", "it was not")) == (rows - 1, 1)
    night([("product-2", "new", "Toys")], model=Verbose())
    with open_run("shelf", "maintain") as run:
        assert run.vacuum("state", 0, keep=[])[0] > 1  # none is left to take rows of
    with open_run("shelf", "models rollback") as run:
        assert take_back(run, overrule(run, "rolled_back", "v1", "it was")) == (rows - 1, 1)
