"""What the figures of a run do not show is said beside them: labels nobody measured, labels that nobody may accept."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

TOML = """
    title = "Shop"
    id = "sku"

    [label]
    column = "category"

    [[fields]]
    name = "title"
    kind = "text"
    """
LABELS = (("rake", "Garden"), ("pan", "Kitchen"))


@pytest.fixture
def few(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of a new catalogue: two labels of forty rows, and one of a single row."""
    (tmp_path / "few.toml").write_text(dedent(TOML))
    monkeypatch.setenv("AISLE_CATALOGS", str(tmp_path))
    rows = [f"{word}{n},{word} number{n},{label}" for n in range(40) for word, label in LABELS]
    path = tmp_path / "few.csv"
    path.write_text("\n".join(["sku,title,category", *rows, "b,one book,Books"]) + "\n")
    return str(path)


def test_labels_without_a_hold_out_row_are_named(aisle: Any, few: str) -> None:
    code, out, _ = aisle("run", "few", few)
    assert code == 0
    assert "No held-out product has the label Books: nothing is known of how well that is told." in out


def test_a_model_that_may_accept_nothing_says_what_it_lacks(aisle: Any, few: str) -> None:
    code, out, _ = aisle("run", "few", few, "--json")
    assert code == 0
    acceptance = json.loads(out)["acceptance"]
    assert (acceptance["labels"], acceptance["acceptable"]) == (3, 0)
    assert "needs 149 without an error" in acceptance["lacks"]
    _, out, _ = aisle("train", "few")
    assert f"No label may be accepted unseen yet. {acceptance['lacks']}" in out


def test_after_a_training_it_is_said_what_is_still_to_come(aisle: Any, few: str) -> None:
    aisle("run", "few", few)
    _, out, _ = aisle("train", "few", "--promote")
    assert "next: aisle score few, so that its answers stand in the predictions" in out
    _, out, _ = aisle("policy", "few")
    assert "0 of 0 stored predictions are accepted" in out
    assert "next: aisle score few; the stored predictions are those of another model" in out
    report = json.loads(aisle("report", "few", "--json")[1])
    newest = [Path(page["path"]) for page in report["reports"] if page["path"].endswith("evaluation.html")]
    assert newest[0].parent.name in Path(report["index"]).read_text(), "the index knows the page of the training"


def test_labels_that_only_held_out_products_have_are_named(aisle: Any, few: str) -> None:
    """Of forty labels with one product each, a fifth is held out: the model was never taught them."""
    with Path(few).open("a") as file:
        file.writelines(f"odd{n},odd thing number{n},Odd {n}\n" for n in range(40))
    result = json.loads(aisle("run", "few", few, "--json")[1])
    (said,) = [sentence for sentence in result["findings"] if sentence.startswith("Only held-out products have")]
    assert "Odd " in said
    assert said.endswith("the model cannot give it.")
