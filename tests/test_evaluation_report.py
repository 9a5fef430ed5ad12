"""What a reader of the evaluation page and of the index of reports can rely on."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from classifier.metrics import confusions, evaluate
from reports import evaluation, index

EVIL = '<img src="x" onerror="alert(1)">'
PLAIN = (["Sofas", "Sofas", "Lamps", "Lamps", "Lamps", EVIL], ["Sofas", "Lamps", "Lamps", "Lamps", "Lamps", "Sofas"])
PATHS = (
    [["Home", "Sofas"], ["Home", "Lamps"], ["Garden", "Lamps"]],
    [["Home", "Sofas"], ["Home", "Sofas"], ["Garden", "Lamps"]],
)


class Page(HTMLParser):
    """The words, links and tags of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def thresholds() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "label": ["Sofas", "Lamps", EVIL],
            "threshold": [0.83, None, None],
            "support": [300, 40, 0],
            "precision": [0.99, 0.9, None],
            "coverage": [0.9, 0.0, 0.0],
            "reason": ["precision 0.990", "40 rows; .98 at 95 % needs 149 without an error", "never predicted"],
        }
    )


def reliability() -> pl.DataFrame:
    return pl.DataFrame({"bin": [5, 9], "confidence": [0.55, 0.95], "accuracy": [0.45, 0.95], "count": [100, 300]})


def written(folder: Path, truth=PLAIN[0], predicted=PLAIN[1], levels=("aisle",), **changes) -> Path:
    truth, predicted = (
        pl.Series([label if isinstance(label, list) else [label] for label in side], dtype=pl.List(pl.String))
        for side in (truth, predicted)
    )
    titles = pl.Series([f"{EVIL} {row}" for row in range(len(truth))], dtype=pl.String)
    given = {
        "catalog": "shop",
        "model_version": "v2",
        "recipe": "linear",
        "metrics": evaluate(truth, predicted, levels),
        "baselines": {"majority": {"rows": 6, "accuracy": 0.1234, "macro_f1": 0.2, "weighted_f1": 0.3, "labels": {}}},
        "confusions": confusions(truth, predicted, titles),
        "thresholds": thresholds(),
        "reliability": reliability(),
        "facts": {"run_id": "r7", "rows": 24, "holdout_rows": 6, "train_s": 1.25, "data_digest": "f00d"},
    }
    return evaluation.write(folder, **(given | changes))


def test_the_headline_stands_beside_the_baselines(tmp_path):
    page = Page(written(tmp_path).read_text())
    assert "Right on 66.7 % of 6 products" in page.text
    assert "always the commonest label 0.1234" in page.text


def test_labels_that_go_to_review_say_what_they_lack(tmp_path):
    page = Page(written(tmp_path).read_text())
    assert "accept from 0.830" in page.text
    assert "40 rows; .98 at 95 % needs 149 without an error" in page.text
    assert "1 of 3 labels can be accepted from some confidence on, which is 79.4 % of all predictions" in page.text


def test_confusions_show_examples(tmp_path):
    page = Page(written(tmp_path).read_text())
    assert f"{EVIL} 1" in page.text


def test_product_text_is_shown_and_never_run(tmp_path):
    html = written(tmp_path).read_text()
    page = Page(html)
    assert EVIL in page.text
    assert EVIL not in html
    assert not page.tags & {"img", "script", "link", "iframe"}


def test_the_page_needs_nothing_but_itself(tmp_path):
    page = Page(written(tmp_path).read_text())
    assert page.links == ["evaluation.json"]


def test_machines_read_the_same_figures(tmp_path):
    said = json.loads(written(tmp_path).with_suffix(".json").read_text())
    assert (said["kind"], said["catalog"], said["run_id"], said["model_version"]) == ("evaluation", "shop", "r7", "v2")
    assert said["metrics"]["accuracy"] == pytest.approx(4 / 6)
    assert said["metrics"]["labels"]["Lamps"]["recall"] == 1
    assert said["calibration_error"] == pytest.approx(0.25 * 0.1)
    assert said["thresholds"][1]["threshold"] is None
    assert said["baselines"]["majority"]["accuracy"] == 0.1234


def test_a_label_path_has_a_section_for_each_level(tmp_path):
    html = written(tmp_path, *PATHS, levels=("department", "type")).read_text()
    page = Page(html)
    assert "Level by level" in page.text
    assert "Labels of department" in page.text
    assert "Labels of type" in page.text
    assert "Home > Lamps" in page.text


def test_all_labels_are_on_the_page_however_many(tmp_path):
    labels = [f"label {number}" for number in range(130)]
    page = Page(written(tmp_path, labels, labels).read_text())
    assert "105 smaller labels" in page.text
    assert all(label in page.text for label in labels)


def test_no_mistake_no_baseline_and_no_reliability_is_still_a_page(tmp_path):
    page = written(tmp_path, ["a", "b"], ["a", "b"], baselines={}, reliability=None)
    assert "Not one mistake" in page.read_text()
    assert json.loads(page.with_suffix(".json").read_text())["calibration_error"] is None


def test_nothing_to_evaluate_on_is_said(tmp_path):
    page = written(tmp_path, [], [], baselines={}, reliability=reliability().clear(), thresholds=thresholds().clear())
    assert "no labelled products to evaluate on" in page.read_text()
    assert json.loads(page.with_suffix(".json").read_text())["verdict"] == "not evaluated"


def test_figures_that_are_not_numbers_become_null(tmp_path):
    odd = reliability().with_columns(accuracy=pl.lit(float("nan")))
    page = written(tmp_path, reliability=odd)
    assert json.loads(page.with_suffix(".json").read_text())["calibration_error"] is None


def test_an_interval_holds_at_the_ends():
    low, high = evaluation.interval(1.0, 50)
    assert (round(low, 3), high) == (0.929, 1.0)  # 0.9286 by Wilson's formula
    assert evaluation.interval(0.5, 0) is None


def test_the_index_links_every_report_newest_first(tmp_path):
    old = written(tmp_path / "shop" / "r1", made_at=datetime(2026, 1, 1, tzinfo=UTC))
    new = written(tmp_path / "shop" / "r2", made_at=datetime(2026, 2, 1, tzinfo=UTC), catalog="shop #2?")
    page = Page(index.write(tmp_path).read_text())
    assert [entry.href for entry in index.entries(tmp_path)] == [
        path.relative_to(tmp_path).as_posix() for path in (new, old)
    ]
    assert {tmp_path / link for link in page.links} == {old, new}
    assert "accuracy 0.6667, macro F1" in page.text


def test_the_index_of_no_reports_says_so(tmp_path):
    assert "none yet" in index.write(tmp_path).read_text()


def test_a_damaged_or_foreign_file_does_not_break_the_index(tmp_path):
    damaged = written(tmp_path / "shop" / "r1").with_suffix(".json")
    damaged.write_text('{"kind": "evalu')
    (tmp_path / "foreign.json").write_text("[1, 2]")
    (tmp_path / "foreign.html").write_text("hello")
    found = index.entries(tmp_path)
    assert [(entry.href, entry.verdict) for entry in found] == [
        ("shop/r1/evaluation.html", "evaluation.json cannot be read")
    ]
    assert "evaluation.json cannot be read" in index.write(tmp_path).read_text()


def test_a_validation_says_what_became_of_its_rows(tmp_path):
    facts = {"catalog": "shop", "run_id": "r1", "made_at": "2026-01-01T00:00:00+00:00", "balanced": True}
    (tmp_path / "validation.html").write_text("page")
    (tmp_path / "validation.json").write_text(json.dumps(facts | {"rows": {"read": 1200, "rejected": 3}}))
    (entry,) = index.entries(tmp_path)
    assert (entry.kind, entry.verdict, entry.tone) == ("Validation", "1,200 rows read, 3 rejected", "review")
