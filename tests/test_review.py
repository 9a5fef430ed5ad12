"""What people label: the most useful products go out, labels come back checked as a whole, and win at once."""

from __future__ import annotations

import csv
import getpass
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from classifier.selection import most_useful
from core.settings import get_settings
from tests import stored
from tests.commands import digests
from warehouse import runs
from warehouse.home import get_home
from warehouse.query import query

PRODUCTS: list[stored.Row] = [
    ("1", "an atlas of the world?", None),
    ("2", "a novel of the sea?", None),
    ("3", "ball", None),
    ("4", "bear?", "Toys"),
    ("5", "an atlas of the world?", None),
    ("6", "a cookery book", "Books"),
]
"""Of the catalogue `shelf`: a question mark is in review, a long title is a book."""

HEADER = "catalog,product_id,label,labelled_by,why"


@pytest.fixture
def shelf(shelves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """These products, scored; gives an empty folder, which is the current one."""
    stored.night(PRODUCTS)
    folder = tmp_path / "desk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def labelled(folder: Path, *rows: str, name: str = "labels.csv", header: str = HEADER) -> str:
    """A file of labels."""
    (folder / name).write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return str(folder / name)


def ask(sql: str) -> list[dict[str, Any]]:
    return query(get_home(), sql).as_dicts()


def told(aisle: Any, *words: str) -> dict[str, Any]:
    code, out, err = aisle(*words, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def refused(aisle: Any, *words: str) -> str:
    code, _, err = aisle("review", "import", *words)
    assert code == 1, err
    return str(err)


def current(product: str) -> tuple[str, str, str]:
    [row] = ask(f"SELECT label, decision, decided_by FROM predictions WHERE product_id = '{product}'")
    return row["label"], row["decision"], row["decided_by"]


def test_an_export_holds_what_is_in_review_once_a_text_the_unlabelled_first(shelf: Path, aisle: Any) -> None:
    done = told(aisle, "review", "export", "shelf")
    assert done == {"catalog": "shelf", "path": "review_shelf.csv", "rows": 3, "in_review": 4}
    rows = list(csv.DictReader((shelf / "review_shelf.csv").open(encoding="utf-8-sig")))
    assert [row["product_id"] for row in rows] == ["1", "2", "4"]
    assert list(rows[0]) == [
        *HEADER.split(","),
        *("predicted_label", "confidence", "accepted_from", "runner_up", "known_label", "decision", "policy_reason"),
        *("model_version", "title"),
    ]
    assert rows[2] | {"policy_reason": ""} == {
        "catalog": "shelf",
        "product_id": "4",
        "label": "",
        "labelled_by": "",
        "why": "",
        "predicted_label": "Toys",
        "confidence": "0.5",
        "accepted_from": "0.8",
        "runner_up": "Toys",
        "known_label": "Toys",
        "decision": "review",
        "policy_reason": "",
        "model_version": "v1",
        "title": "bear?",
    }


def test_an_export_leaves_out_what_a_person_has_labelled_and_puts_copies_of_it_last(shelf: Path, aisle: Any) -> None:
    told(aisle, "review", "import", labelled(shelf, "shelf,1,Books,,"))
    told(aisle, "review", "export", "shelf", "--out", "look.jsonl")
    assert pl.read_ndjson(shelf / "look.jsonl")["product_id"].to_list() == ["2", "4", "5"]
    told(aisle, "review", "export", "shelf", "--out", "one.jsonl", "--most", "1")
    assert pl.read_ndjson(shelf / "one.jsonl")["product_id"].to_list() == ["2"]


def test_labelled_products_crowd_out_no_other(shelf: Path, aisle: Any) -> None:
    stored.night([(f"0{n}", f"a toy of kind {n}?", "Toys") for n in range(30)])
    told(aisle, "review", "export", "shelf", "--out", "one.jsonl", "--most", "1")
    assert pl.read_ndjson(shelf / "one.jsonl")["known_label"].to_list() == [None]


def test_nothing_in_review_is_a_file_without_rows(shelf: Path, aisle: Any) -> None:
    told(aisle, "review", "import", labelled(shelf, *(f"shelf,{n},Books,," for n in (1, 2, 4, 5))))
    assert told(aisle, "review", "export", "shelf", "--out", "none.csv")["rows"] == 0
    assert (shelf / "none.csv").read_text(encoding="utf-8-sig").startswith(HEADER)
    code, _, err = aisle("review", "import", "none.csv")
    assert (code, "no rows in it" in err) == (1, True)


def test_an_export_replaces_nothing_unasked_and_names_what_it_cannot_write(shelf: Path, aisle: Any) -> None:
    (shelf / "review_shelf.csv").write_text("half of my labels")
    code, _, err = aisle("review", "export", "shelf")
    assert (code, "is there already" in err) == (2, True)
    assert (shelf / "review_shelf.csv").read_text() == "half of my labels"
    assert told(aisle, "review", "export", "shelf", "--force")["rows"] == 3
    assert aisle("review", "export", "shelf", "--out", "look.xlsx")[0] == 2
    assert aisle("review", "export", "shelf", "--most", "0")[0] == 2
    assert aisle("review", "export", "other")[0] == 1
    assert [path.name for path in shelf.iterdir()] == ["review_shelf.csv"]


@pytest.mark.parametrize("name", ["look.csv", "look.tsv", "look.jsonl", "look.parquet"])
def test_what_was_exported_is_imported_when_it_is_filled_in(shelf: Path, aisle: Any, name: str) -> None:
    told(aisle, "review", "export", "shelf", "--out", name)
    text, separator = pl.String, "\t" if name.endswith("tsv") else ","
    read = {".jsonl": pl.read_ndjson, ".parquet": pl.read_parquet}.get(Path(name).suffix)
    rows = read(name) if read else pl.read_csv(name, separator=separator, infer_schema=False)
    assert rows["label"].null_count() == rows.height == 3
    label = pl.when(pl.col("product_id") != "4").then(pl.lit("Books", text)).alias("label")
    filled = rows.with_columns(label, pl.lit("anna").alias("labelled_by"))
    if name.endswith("parquet"):
        filled.write_parquet(name)
    elif name.endswith("jsonl"):
        filled.write_ndjson(name)
    else:
        filled.write_csv(name, separator=separator)
    done = told(aisle, "review", "import", name)
    assert (done["rows"], done["skipped"], done["catalogs"][0]["stored"]) == (3, 1, 2)
    assert current("1") == current("2") == ("Books", "accepted", "person")
    assert current("4") == ("Toys", "review", "model")


def test_a_label_wins_at_once_wherever_predictions_are_shown(shelf: Path, aisle: Any, tmp_path: Path) -> None:
    assert current("2") == ("Books", "review", "model")
    done = told(aisle, "review", "import", labelled(shelf, "shelf,2,Toys,,", "shelf,3,Books,,"), "--by", "anna")
    assert done["catalogs"][0] | {"run_id": ""} == {
        "catalog": "shelf",
        "run_id": "",
        "stored": 2,
        "unchanged": 0,
        "repeated": 0,
        "confirmed": 0,
        "new_labels": [],
    }
    assert current("2") == ("Toys", "accepted", "person")
    assert current("3") == ("Books", "accepted", "person")  # over an accepted prediction, too
    [row] = ask("SELECT predicted_path, label_path, depth FROM predictions WHERE product_id = '2'")
    assert row == {"predicted_path": ["Books"], "label_path": ["Toys"], "depth": 1}
    assert ask("SELECT 1 FROM review_queue WHERE product_id = '2'") == []
    assert ask("SELECT accepted, review, balanced FROM conservation") == [
        {"accepted": 3, "review": 3, "balanced": True}
    ]
    told(aisle, "export", "shelf", "--out", str(tmp_path / "out.parquet"))
    kept = pl.read_parquet(tmp_path / "out.parquet").filter(product_id="2")
    assert kept.select("label", "decided_by").row(0) == ("Toys", "person")
    assert told(aisle, "explain", "shelf", "2")["prediction"]["decided_by"] == "person"


def test_where_a_label_came_from_is_kept(shelf: Path, aisle: Any) -> None:
    name = labelled(shelf, "shelf,1,Toys,bert,it is a globe", "shelf,2,Books,,", "shelf,3,Toys,,  ")
    run_id = told(aisle, "review", "import", name, "--by", "anna")["catalogs"][0]["run_id"]
    rows = ask("SELECT * EXCLUDE (labelled_at) FROM labels ORDER BY product_id")
    same = {"catalog": "shelf", "run_id": run_id, "source_file": name, "model_version": "v1"}
    same["source_digest"] = hashlib.sha256(Path(name).read_bytes()).hexdigest()
    assert rows == [
        {"product_id": product, "label": label, "label_path": [label], "labelled_by": by, "why": why}
        | {"predicted_path": [said], "confidence": confidence}
        | same
        for product, label, by, why, said, confidence in (
            ("1", "Toys", "bert", "it is a globe", "Books", 0.5),
            ("2", "Books", "anna", None, "Books", 0.5),
            ("3", "Toys", "anna", None, "Toys", 0.9),
        )
    ]
    assert ask(f"SELECT flow, source, read, source_digest FROM runs WHERE run_id = '{run_id}'") == [
        {"flow": "review import", "source": [name], "read": None, "source_digest": same["source_digest"]}
    ]
    told(aisle, "review", "import", labelled(shelf, "shelf,4,Books,,"))
    assert ask("SELECT labelled_by FROM labels WHERE product_id = '4'") == [{"labelled_by": getpass.getuser()}]


def test_the_same_file_again_changes_nothing(shelf: Path, aisle: Any) -> None:
    rows = ["shelf,1,Toys,,", "shelf,2,Books,,", "shelf,2,Books,,", "shelf,3,,,"]
    first = told(aisle, "review", "import", labelled(shelf, *rows), "--by", "anna")
    labels = ask("SELECT * FROM labels")
    again = told(aisle, "review", "import", labelled(shelf, *rows), "--by", "anna")
    assert [first[name] for name in ("rows", "skipped")] == [again[name] for name in ("rows", "skipped")] == [4, 1]
    counted = ("stored", "unchanged", "repeated", "confirmed")
    counts = [tuple(one[name] for name in counted) for one in (first["catalogs"] + again["catalogs"])]
    assert counts == [(2, 0, 1, 1), (0, 2, 1, 0)]
    assert ask("SELECT * FROM labels") == labels


def test_the_newest_label_wins_and_an_old_file_does_not_turn_it_back(shelf: Path, aisle: Any) -> None:
    anna, bert = labelled(shelf, "shelf,1,Toys,anna,"), labelled(shelf, "shelf,1,Books,bert,", name="bert.csv")
    for name, label, stored_labels in ((anna, "Toys", 1), (bert, "Books", 1), (anna, "Books", 0)):
        assert told(aisle, "review", "import", name)["catalogs"][0]["stored"] == stored_labels
        assert current("1") == (label, "accepted", "person")
    sure = labelled(shelf, "shelf,1,Toys,anna,still a toy", name="sure.csv")
    assert told(aisle, "review", "import", sure)["catalogs"][0]["stored"] == 1
    assert current("1") == ("Toys", "accepted", "person")
    assert len(ask("SELECT * FROM labels")) == 3


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("shelf,99,Books,,", "line 3, column product_id '99': no current product of catalogue shelf"),
        ("shelf,,Books,,", "line 3, column product_id '': a label without a product"),
        ("shelf,2,books,,", "line 3, column label 'books': catalogue shelf has no such label; did you mean Books?"),
        ("shelf,2,Lamps,,", "like none of its 2 labels; --new-labels takes it as new"),
        ("shelf,1,Toys,,", "line 3, column label 'Toys': product '1' is 'Books' in line 2; keep one of the two"),
        ("shelv,2,Books,,", "line 3, column catalog 'shelv': there is no such catalogue; did you mean shelf?"),
        (",2,Books,,", "line 3, column catalog '': there is no such catalogue"),
        ("shelf,2,Books", "line 3: 3 cells where the header has 5"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_taken_in(shelf: Path, home: Path, aisle: Any, row: str, said: str) -> None:
    before = digests(home)
    err = refused(aisle, labelled(shelf, "shelf,1,Books,,", row, "shelf,3,Toys,,"))
    assert "1 problem, nothing was imported" in err
    assert said in err
    assert digests(home) == before


def test_every_problem_is_counted_and_the_first_ten_are_named(shelf: Path, aisle: Any) -> None:
    err = refused(aisle, labelled(shelf, *(f"shelf,9{n},Books,," for n in range(12)), "shelf,1,Books,,"))
    assert "12 problems, nothing was imported" in err
    assert [f"line {n}," in err for n in range(2, 14)] == [True] * 10 + [False] * 2
    assert "and 2 more" in err
    assert ask("SELECT * FROM labels") == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"catalog,product_id,category\nshelf,1,Books\n", "no column 'label' in the header"),
        (b"catalog;product_id;label\nshelf;1;Books\n", "one cell that holds semicolons"),
        ("catalog,product_id,label\nshelf,1,Bücher\n".encode("latin-1"), "not UTF-8"),
        ("catalog,product_id,label\n".encode("utf-16"), "not UTF-8"),
        (b"", "the file is empty"),
        (b"PK\x03\x04 a workbook", "an Excel workbook"),
    ],
)
def test_a_file_that_is_no_table_of_labels_is_named(shelf: Path, aisle: Any, content: bytes, said: str) -> None:
    (shelf / "labels.csv").write_bytes(content)
    assert said in refused(aisle, "labels.csv")


def test_a_file_that_is_not_there_or_a_folder_is_named(shelf: Path, aisle: Any) -> None:
    assert "no such file" in refused(aisle, "nowhere.csv")
    code, _, err = aisle("review", "import", str(shelf))
    assert (code, "is a folder" in err) == (2, True)


def test_a_new_label_has_to_be_meant(shelf: Path, aisle: Any) -> None:
    name = labelled(shelf, "shelf,1,Maps,,")
    assert "--new-labels takes it as new" in refused(aisle, name)
    assert told(aisle, "review", "import", name, "--new-labels")["catalogs"][0]["new_labels"] == ["Maps"]
    assert current("1") == ("Maps", "accepted", "person")
    again = told(aisle, "review", "import", labelled(shelf, "shelf,2,Maps,,"))  # now the catalogue has it
    assert (again["catalogs"][0]["stored"], again["catalogs"][0]["new_labels"]) == (1, [])


def test_a_label_that_the_catalogue_does_not_allow_is_refused_whatever_is_meant(
    shelf: Path, aisle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "catalogs"
    shutil.copytree(stored.SHELVES, own)
    toml = (own / "shelf.toml").read_text()
    declared = 'column = "aisle"\nallowed = ["Books", "Games", "Toys"]\nignored = ["Gift cards"]'
    (own / "shelf.toml").write_text(toml.replace('column = "aisle"', declared))
    monkeypatch.setenv("AISLE_CATALOGS", str(own))
    get_settings.cache_clear()
    for words in ([], ["--new-labels"]):
        assert "not among the labels that shelf.toml allows; did you mean Games?" in refused(
            aisle, labelled(shelf, "shelf,1,Game,,"), *words
        )
        assert "shelf.toml allows" in refused(aisle, labelled(shelf, "shelf,1,Gift cards,,"), *words)
    assert told(aisle, "review", "import", labelled(shelf, "shelf,1,Games,,"))["catalogs"][0]["stored"] == 1


def test_several_catalogues_in_one_file_are_a_run_each_and_checked_before_the_first(shelf: Path, aisle: Any) -> None:
    with runs.open_run("other", "nightly", ["other.jsonl"]) as run:
        stored.ingest(run, [("1", "an almanac", "Books"), ("7", "a kite", "Toys")])
    good, bad = ["other,1,Toys,,", "shelf,1,Toys,,", "other,7,Books,,"], ["shelf,77,Toys,,"]
    assert "line 5, column product_id '77'" in refused(aisle, labelled(shelf, *good, *bad))
    assert ask("SELECT * FROM labels") == []
    done = told(aisle, "review", "import", labelled(shelf, *good))["catalogs"]
    assert [(one["catalog"], one["stored"]) for one in done] == [("other", 2), ("shelf", 1)]
    assert ask("SELECT catalog FROM runs WHERE flow = 'review import' ORDER BY 1") == [
        {"catalog": "other"},
        {"catalog": "shelf"},
    ]


def test_a_file_without_any_label_is_no_run(shelf: Path, home: Path, aisle: Any) -> None:
    before = digests(home)
    done = told(aisle, "review", "import", labelled(shelf, "shelf,1,,,", "shelf,999,,,"))
    assert done == {"path": str(shelf / "labels.csv"), "rows": 2, "skipped": 2, "catalogs": []}
    assert digests(home) == before


def _killed_before_it_is_recorded(name: str) -> None:
    from aisle.cli import run

    runs.Run.record = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign, assignment]
    run(["review", "import", name])


def test_an_import_that_is_killed_leaves_nothing_and_can_be_done_again(shelf: Path, home: Path, aisle: Any) -> None:
    name = labelled(shelf, "shelf,1,Toys,,", "shelf,2,Toys,,")
    process = multiprocessing.get_context("spawn").Process(target=_killed_before_it_is_recorded, args=(name,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert list((home / "tables" / "shelf" / "labels").glob("*.parquet"))  # it was written, and is seen by nobody
    assert aisle("publish")[0] == 0
    assert ask("SELECT * FROM labels") == []
    assert current("1") == ("Books", "review", "model")
    assert told(aisle, "review", "import", name)["catalogs"][0]["stored"] == 2
    assert current("1") == ("Toys", "accepted", "person")


def test_the_selection_takes_the_least_sure_of_every_kind_of_text() -> None:
    kinds = {"red cotton shirt with buttons": 40, "garden hose for watering roses": 10, "steel pan with glass lid": 10}
    texts = pl.Series([f"{text} model{n % 5}" for text, count in kinds.items() for n in range(count)])
    kind = np.repeat(np.arange(3), list(kinds.values()))
    confidence = 0.1 * (1 + kind) + np.arange(len(texts)) / 1_000  # all shirts come before any hose
    chosen = most_useful(texts, confidence, 3, seed=0)
    assert sorted(kind[chosen]) == [0, 1, 2]
    assert chosen.tolist() == [0, 40, 50]  # of each the least sure, and the least sure of all first
    many = most_useful(texts, confidence, 30, seed=0)
    assert len(set(many.tolist())) == 30
    assert set(kind[many]) == {0, 1, 2}
    assert many.tolist() == most_useful(texts, confidence, 30, seed=0).tolist()


@pytest.mark.parametrize("texts", [[], [""] * 9, [f"word{n}" for n in range(9)], ["the same"] * 9])
def test_the_selection_is_by_confidence_alone_where_texts_tell_nothing(texts: list[str]) -> None:
    confidence = np.linspace(0.9, 0.1, len(texts))
    chosen = most_useful(pl.Series(texts, dtype=pl.String), confidence, 4, seed=0)
    assert chosen.tolist() == list(range(len(texts)))[::-1][:4]
