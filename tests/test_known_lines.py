"""Lines that stood in an earlier file are not read again, and nobody can tell by what is stored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.known_lines import KnownLines
from core.settings import get_settings
from tasks.find_source import find_source
from tasks.read_file import read_file
from tests.test_conservation import JSON_LINE, QUIETLY, TOML, ingest
from warehouse.home import get_home
from warehouse.query import query
from warehouse.recorded import recorded
from warehouse.runs import open_run

PLAIN = 100
"""Lines at the start of a file: as many as the smallest batch, the first of which is always read."""

ANSWERS = {
    "conservation": "SELECT * EXCLUDE (run_id) FROM conservation ORDER BY ALL",
    "products": "SELECT * EXCLUDE (run_id, stored_at) FROM products ORDER BY product_id",
    "rejects": "SELECT * EXCLUDE (run_id, rejected_at) FROM rejects ORDER BY ALL",
    "conflicts": "SELECT * EXCLUDE (run_id) FROM conflicts ORDER BY ALL",
}


def plain(label: str | None = "Toys") -> list[bytes]:
    rows = [{"id": f"plain-{i}", "title": "plain"} | ({} if label is None else {"aisle": label}) for i in range(PLAIN)]
    return [json.dumps(row).encode() for row in rows]


def line(id_: str, title: str, **more: Any) -> bytes:
    return json.dumps({"id": id_, "title": title, **more}).encode()


@contextmanager
def home_that_reads(home: Path, batch_rows: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home of its own; with batches above a file's length every line is read, as each file's first batch is."""
    monkeypatch.setenv("AISLE_HOME", str(home))
    monkeypatch.setenv("AISLE_BATCH_ROWS", str(batch_rows))
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def run(nights: list[list[list[bytes]]], root: Path, load: str) -> list[Any]:
    """Ingest files night by night; returns what SQL says after each."""
    (root / "catalogs" / "shelf.toml").write_text(TOML.format(load=load))
    sources, found = root / "sources", []
    for number, night in enumerate(nights):
        shutil.rmtree(sources, ignore_errors=True)
        sources.mkdir()
        files = [sources / f"{i}.jsonl" for i in range(len(night))]
        for file, lines in zip(files, night, strict=True):
            file.write_bytes(b"\n".join(lines))
        ingest(files, scored=number == 0)
        found.append({name: query(get_home(), sql).as_dicts() for name, sql in ANSWERS.items()})
    return found


def both_ways(nights: list[list[list[bytes]]], root: Path, load: str = "changes") -> list[Any]:
    """What SQL says after each night, which is the same whether lines are known or all are read."""
    found = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, batch_rows in (("reads-all", 50_000), ("knows", PLAIN)):
            shutil.rmtree(root / name, ignore_errors=True)
            with home_that_reads(root / name, batch_rows, monkeypatch):
                found.append(run(nights, root, load))
    assert found[1] == found[0]
    return found[1]


def known(lines: list[bytes], root: Path) -> int:
    """How many lines of a file the next ingest would not read."""
    file = root / "asked.jsonl"
    file.write_bytes(b"\n".join(lines))
    with open_run("shelf", "ingest", [str(file)]) as started:
        [found] = read_file.each(find_source(started.run_id), shared=started.staging)
    assert found.sample.seen == found.staged.read - found.staged.known
    return found.staged.known


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where homes, catalogues and sources lie."""
    (tmp_path / "catalogs").mkdir()
    monkeypatch.setenv("AISLE_CATALOGS", str(tmp_path / "catalogs"))
    return tmp_path


@pytest.fixture
def small_batches(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (root / "catalogs" / "shelf.toml").write_text(TOML.format(load="changes"))
    with home_that_reads(root / "var", PLAIN, monkeypatch):
        yield root


def store(lines: list[bytes], root: Path) -> None:
    file = root / "stored.jsonl"
    file.write_bytes(b"\n".join(lines))
    ingest([file], scored=False)


MORE = [line(str(i), f"product {i}", aisle="Books") for i in range(50)]


def test_lines_behind_the_first_batch_that_were_stored_are_not_read_again(small_batches: Path) -> None:
    assert known([*plain(), *MORE], small_batches) == 0
    store([*plain(), *MORE], small_batches)
    assert known([*plain(), *MORE], small_batches) == len(MORE)
    changed = [line("7", "another title", aisle="Books"), *MORE[:7], *MORE[8:]]
    assert known([*plain(), *changed], small_batches) == len(MORE) - 1


def test_other_rules_or_another_form_of_the_product_make_a_line_unknown(small_batches: Path) -> None:
    store([*plain(), *MORE], small_batches)
    store([*plain(), line("7", "another title", aisle="Books")], small_batches)
    assert known([*plain(), *MORE], small_batches) == len(MORE) - 1
    toml = small_batches / "catalogs" / "shelf.toml"
    toml.write_text(toml.read_text().replace("max = 60", "max = 50"))
    assert known([*plain(), *MORE], small_batches) == 0
    toml.write_text(toml.read_text().replace("max = 50", "max = 60") + "\n[gate]\nmax_loss = 0.5\n")
    assert known([*plain(), *MORE], small_batches) == len(MORE) - 1


def test_the_same_file_again_writes_nothing(small_batches: Path) -> None:
    store([*plain(), *MORE], small_batches)
    before = recorded(get_home(), "shelf")
    store([*plain(), *MORE], small_batches)
    assert recorded(get_home(), "shelf") == before
    assert {"products", "state", "lines"} <= before.keys()


def test_an_unchanged_product_in_a_line_that_is_written_differently_is_known_the_next_time(small_batches: Path) -> None:
    store([*plain(), *MORE], small_batches)
    spaced = [entry.replace(b": ", b":  ") for entry in MORE]
    assert known([*plain(), *spaced], small_batches) == 0
    store([*plain(), *spaced], small_batches)
    assert known([*plain(), *spaced], small_batches) == len(MORE)
    assert query(get_home(), "SELECT sum(stored) FROM runs").rows == [(PLAIN + len(MORE),)]


def test_a_worker_that_does_not_see_what_is_known_reads_every_line(tmp_path: Path) -> None:
    KnownLines.write(tmp_path / "known.npy", KnownLines(None, b"key", first=True).look_up(MORE))
    for name, found in (("known.npy", True), ("elsewhere.npy", False)):
        looked_up = KnownLines(str(tmp_path / name), b"key", first=True).look_up(MORE[:3])
        assert looked_up["known"].to_list() == [found] * 3


def test_whoever_was_warned_of_is_warned_of_again(small_batches: Path) -> None:
    toml = small_batches / "catalogs" / "shelf.toml"
    toml.write_text(toml.read_text().replace('severity = "reject"', 'severity = "warn"'))
    long = line("long", "x" * 61, aisle="Books")
    store([*plain(), long, *MORE], small_batches)
    assert known([*plain(), long, *MORE], small_batches) == len(MORE)


def test_a_conflict_with_a_known_line_has_the_values_of_both(root: Path) -> None:
    one, other = line("1", "ball", aisle="Toys"), line("1", "a book", aisle="Books")
    nights = [
        [[*plain(), one]],
        [[*plain(), other, one]],
        [[*plain(), one, other]],
        [[*plain(), one], [*plain(), other]],
    ]
    *_, last = both_ways(nights, root)
    assert [row["kept_source"][-7:] for row in last["conflicts"]].count("1.jsonl") == 1


def test_labels_of_files_without_a_label_column_are_the_same(root: Path) -> None:
    unlabelled, labelled = line("1", "ball"), line("1", "ball", aisle="Toys")
    bare, full = plain(None), plain()
    other = line("1", "ball", aisle="Books")
    none = line("1", "ball", aisle=None)
    nights = [
        [[*full, labelled]],
        [[*bare, unlabelled]],
        [[*bare, unlabelled]],
        [[*full, unlabelled]],
        [[*bare, unlabelled]],
        [[*full, labelled]],
        [[*full, other], [*bare, unlabelled]],
        [[*bare, unlabelled], [*full, labelled]],
        [[*full, none]],
        [[*full, none]],
        [[*bare, unlabelled], [*full, none], [*bare, labelled]],
    ]
    both_ways(nights, root)


FILE = st.lists(JSON_LINE, min_size=1, max_size=12)


@settings(max_examples=6, **QUIETLY)
@given(load=st.sampled_from(["changes", "snapshot"]), pool=FILE, data=st.data())
def test_what_is_stored_is_the_same_whether_lines_are_known_or_read(
    root: Path,
    load: str,
    pool: list[bytes],
    data: st.DataObject,
) -> None:
    night = st.lists(st.tuples(st.booleans(), st.lists(st.sampled_from(pool), max_size=10)), min_size=1, max_size=2)
    drawn = data.draw(st.lists(night, min_size=2, max_size=4))
    nights = [[[*plain("Toys" if full else None), *lines] for full, lines in files] for files in drawn]
    both_ways(nights, root, load)
