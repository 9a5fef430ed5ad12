"""What a reader of the evaluation page and of the index of reports can rely on."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from classifier.bootstrap import intervals
from classifier.label_issues import LABEL_ISSUES, LabelIssues
from classifier.metrics import confusions, evaluate
from classifier.model import fit
from classifier.recipes import resolve
from classifier.slices import SLICES, Slices
from classifier.studies import Study
from core.settings import get_settings
from reports import evaluation, index
from reports.findings import Findings, sentences, study_sentences
from tasks.fit_model import Candidate
from tasks.split_rows import Split
from tasks.study_model import skipped
from tests.commands import PROJECT
from tests.products import shop as shop_products

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
    return pl.DataFrame(
        {
            "level": ["aisle", "aisle"],
            "bin": [5, 9],
            "confidence": [0.55, 0.95],
            "accuracy": [0.45, 0.95],
            "count": [100, 300],
        }
    )


def with_calibration(metrics: dict) -> dict:
    for number, level in enumerate(metrics.get("levels", {}).values()):
        level["calibration_error"] = 0.025 + 0.05 * number
    return metrics | {"calibration_error": 0.0125}


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
        "metrics": with_calibration(evaluate(truth, predicted, levels)),
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
    assert said["calibration_error"] == 0.0125
    assert said["thresholds"][1]["threshold"] is None
    assert said["baselines"]["majority"]["accuracy"] == 0.1234


def test_a_label_path_has_a_section_for_each_level(tmp_path):
    html = written(tmp_path, *PATHS, levels=("department", "type")).read_text()
    page = Page(html)
    assert "Level by level" in page.text
    assert "Labels of department" in page.text
    of_type = page.text.partition("Labels of type")[2].partition("Confusions")[0]
    assert "Home > Lamps" in of_type


def test_all_labels_are_on_the_page_however_many(tmp_path):
    labels = [f"label {number}" for number in range(130)]
    page = Page(written(tmp_path, labels, labels).read_text())
    assert "105 smaller labels" in page.text
    assert all(label in page.text for label in labels)


def test_no_mistake_no_baseline_and_no_reliability_is_still_a_page(tmp_path):
    page = written(tmp_path, ["a", "b"], ["a", "b"], baselines={}, reliability=None)
    assert "Not one mistake" in page.read_text()


def test_nothing_to_evaluate_on_is_said(tmp_path):
    page = written(tmp_path, [], [], baselines={}, reliability=reliability().clear(), thresholds=thresholds().clear())
    assert "no labelled products to evaluate on" in page.read_text()
    assert json.loads(page.with_suffix(".json").read_text())["verdict"] == "not evaluated"


def test_figures_that_are_not_numbers_become_null(tmp_path):
    odd = reliability().with_columns(accuracy=pl.lit(float("nan")))
    page = written(tmp_path, reliability=odd)
    said = json.loads(page.with_suffix(".json").read_text())
    assert [row["accuracy"] for row in said["reliability"][0]["bins"]] == [None, None]


def test_the_index_links_every_report_newest_first(tmp_path):
    old = written(tmp_path / "shop" / "r1", made_at=datetime(2026, 1, 1, tzinfo=UTC))
    new = written(tmp_path / "shop" / "r2", made_at=datetime(2026, 2, 1, tzinfo=UTC), catalog="shop #2?")
    page = Page(index.write(tmp_path).read_text())
    assert [entry.href for entry in index.entries(tmp_path)] == [
        path.relative_to(tmp_path).as_posix() for path in (new, old)
    ]
    assert {tmp_path / link for link in page.links} == {old, new}
    assert "accuracy 0.6667, macro F1" in page.text


def test_the_index_keeps_a_verdict_until_there_is_another(tmp_path):
    """A night with too few products says nothing about what was found before."""
    for run_id, verdict in (("r1", "drift in 3 of 30 measures"), ("r2", "no verdict")):
        for comparison in ("catalogue", "arrivals"):
            said = verdict if comparison == "catalogue" else "no verdict"
            facts = {
                "kind": "drift",
                "catalog": "shop",
                "run_id": run_id,
                "time": f"2026-01-0{run_id[1]}T03:00:00+00:00",
            }
            page = tmp_path / "shop" / run_id / f"drift_{comparison}.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text("page")
            page.with_suffix(".json").write_text(json.dumps(facts | {"comparison": comparison, "verdict": said}))
    now, _, over_time = Page(index.write(tmp_path).read_text()).text.partition("Over time")
    assert "drift in 3 of 30 measures" in now
    assert "2026-01-01" in now
    assert now.count("no verdict") == 1, "the newest, where there has never been a verdict"
    assert now.count("2026-01-02") == 1
    assert over_time.count("no verdict") == 3


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


def found(**changes) -> Findings:
    """Findings of every kind, with a label and a product text that would run as HTML."""
    gain = {
        "macro_f1": {"difference": 0.1, "interval": (0.05, 0.15)},
        "accuracy": {"difference": 0.0, "interval": (-0.01, 0.01)},
    }
    ends = {"accuracy": (0.5, 0.7), "macro_f1": (0.4, 0.6), "weighted_f1": (0.4, 0.7)}
    point = {"accuracy": 0.6, "macro_f1": 0.5, "weighted_f1": 0.6, "intervals": ends}
    slice_ = {"accuracy": 0.4, "low": 0.3, "high": 0.5, "expected": 0.62}
    given = {
        "intervals": ends,
        "coverage": [
            {
                "level": "aisle",
                "rows": 6,
                "points": [
                    {"coverage": 0.5, "precision": 1.0, "confidence": 0.9},
                    {"coverage": 1.0, "precision": 0.6667, "confidence": 0.5},
                ],
                "at": [{"target": 0.9, "coverage": 0.5, "rows": 3, "confidence": 0.9}],
            }
        ],
        "accepted": [{"level": "aisle", "rows": 3, "share": 0.5, "right": 1.0}],
        "precision_target": 0.98,
        "slices": Slices(
            pl.DataFrame(
                [
                    {"by": "brand", "slice": "missing", "rows": 90, **slice_, "weak": True},
                    {"by": "brand", "slice": "given", "rows": 5, **slice_, "weak": None},
                ],
                schema=SLICES,
            ),
            overall=0.65,
            looked_at=1,
            notes=["Language: the texts are too short to guess it."],
        ),
        "unmeasured": [EVIL],
        "learning_curve": Study(
            [{"share": 0.5, "rows": 12, **point, "gain": gain}, {"share": 1.0, "rows": 24, **point, "gain": None}],
            ["25% of the training rows: the time for studies was used up"],
        ),
        "ablation": Study([{"field": "title", "kind": "text", **point, "gain": gain}], []),
        "label_issues": LabelIssues(
            pl.DataFrame([("p1", EVIL, "Sofas", "Lamps", 0.01, 0.9)], schema=LABEL_ISSUES, orient="row"), 24, None
        ),
    }
    return Findings(**(given | changes))


def test_a_model_that_a_baseline_beats_says_so():
    better = {"majority": {"accuracy": 0.5}, "plain_tfidf": {"accuracy": 0.91}}
    said = sentences(Findings(accuracy=0.9, baselines=better, unlearnt=["text"]))
    assert len(said) == 2
    assert said[0].startswith("The baseline plain tfidf is right on more of the held-out products than the model: 91")
    assert said[1].startswith("Nothing was learnt of text: ")
    assert not sentences(Findings(accuracy=0.9099, baselines=better))


def test_what_a_reader_should_not_miss_is_said_in_words(tmp_path):
    page = Page(written(tmp_path, found=found()).read_text())
    text = page.text.replace("\u00a0", " ")
    assert "50.0 % of the held-out products are accepted unseen, and 100 % of those are right" in text
    assert "Weak where brand is missing: right on 40.0 % of 90 products (95 % interval 30.0 % to 50.0 %)" in text
    assert "so it is more than hard labels" in text
    assert f"No held-out product has the label {EVIL}" in text
    assert "changed by +0.100 (95 % interval +0.050 to +0.150): more labelled products would probably help" in text
    assert "macro F1 is lower without title (−0.100)" in text
    assert "1 of the 24 training products that were judged (4.2 %) have a label that looks wrong" in text


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((0.01, 0.05), "more labelled products would probably help"),
        ((-0.01, 0.05), "too few to tell"),
        ((-0.01, 0.01), "would help little"),
    ],
)
def test_whether_more_data_would_help_hangs_on_the_interval(ends, said):
    gain = {"macro_f1": {"difference": 0.0, "interval": ends}}
    curve = Study([{"share": 0.5, "rows": 10, "gain": gain}, {"share": 1.0, "rows": 20, "gain": None}], [])
    assert said in study_sentences(Findings(learning_curve=curve))["curve"]


def test_every_chart_stands_beside_a_table_and_tells_its_lines_apart_without_colour(tmp_path):
    html = written(tmp_path, found=found()).read_text()
    page = Page(html)
    assert html.count('<svg class="plot') == html.count('role="img" aria-label="Reliability') + html.count(
        'class="plot chart"'
    )
    assert html.count('class="plot chart"') == 2
    learning = html.partition("Metrics by training rows")[2].partition("</svg>")[0]
    assert len(set(re.findall(r'stroke-dasharray="([^"]*)"', learning))) == 2
    assert len(set(re.findall(r'class="dot" d="([^"]*)"', learning))) == 2
    assert "Precision Coverage Products From confidence 0.90 50.0 % 3 0.900" in page.text
    assert "too few" in page.text


def test_an_interval_is_not_rounded_to_certainty(tmp_path):
    surest = pl.DataFrame({"level": ["aisle"], "bin": [9], "confidence": [0.999], "accuracy": [1.0], "count": [795]})
    assert "0.999 1.000 0.995 to 1.000 795" in Page(written(tmp_path, reliability=surest).read_text()).text


def test_findings_are_escaped_and_the_page_still_needs_nothing_but_itself(tmp_path):
    html = written(tmp_path, found=found()).read_text()
    page = Page(html)
    assert EVIL not in html
    assert page.text.count(EVIL) >= 3
    assert not page.tags & {"img", "script", "link", "iframe"}
    assert set(page.links) == {"evaluation.json", "label_issues.csv"}


def test_machines_read_the_findings_and_the_suspected_labels(tmp_path):
    path = written(tmp_path, found=found()).with_suffix(".json")
    said = json.loads(path.read_text(), parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert said["accuracy_interval"] == [0.5, 0.7]
    assert said["intervals"]["macro_f1"] == [0.4, 0.6]
    assert [row["weak"] for row in said["slices"]["rows"]] == [True, None]
    assert said["learning_curve"]["rows"][0]["gain"]["macro_f1"]["interval"] == [0.05, 0.15]
    assert said["ablation"]["rows"][0]["field"] == "title"
    assert said["label_issues"]["rows"][0]["text"] == EVIL
    assert len(said["findings"]) == 6
    listed = pl.read_csv(tmp_path / "label_issues.csv")
    assert listed.columns == list(LABEL_ISSUES)
    assert listed["text"].to_list() == [EVIL]


def test_what_was_not_made_is_said_with_the_command_that_makes_it(tmp_path):
    why = "training took 40 s, and from 15 s on this is made only when asked for: aisle train shop --study"
    none = found(learning_curve=None, ablation=None, studies_skipped=why)
    text = Page(written(tmp_path, found=none).read_text()).text
    assert text.count("aisle train shop --study") == 1
    assert json.loads((tmp_path / "evaluation.json").read_text())["learning_curve"]["skipped"] == [why]


def test_paths_show_intervals_hierarchical_metrics_and_thresholds_at_each_level(tmp_path):
    truth, predicted = (pl.Series(side, dtype=pl.List(pl.String)) for side in PATHS)
    levels = ("department", "type")
    ends = intervals(truth, predicted, levels, seed=0)
    table = thresholds().with_columns(pl.Series("level", [1, 2, 2]))
    html = written(tmp_path, *PATHS, levels=levels, thresholds=table, found=Findings(intervals=ends)).read_text()
    text = Page(html).text
    assert "hierarchical F1 0.8333 (95 % interval" in text
    used = text.partition("Used unseen, or looked at by a person")[2]
    assert used.index("department") < used.index("Sofas") < used.index("type") < used.index("Lamps")


def test_confidence_is_held_to_account_at_each_level(tmp_path):
    department = reliability().with_columns(level=pl.lit("department"))
    both = pl.concat([department, reliability().with_columns(level=pl.lit("type"), accuracy=pl.col("accuracy") - 0.05)])
    page = written(tmp_path, *PATHS, levels=("department", "type"), reliability=both)
    text = Page(page.read_text()).text
    assert (
        text.index("Down to department")
        < text.index("error 0.0250")
        < text.index("Down to type")
        < text.index("0.0750")
    )
    said = json.loads(page.with_suffix(".json").read_text())
    assert [part["level"] for part in said["reliability"]] == ["department", "type"]
    assert said["reliability"][1]["calibration_error"] == pytest.approx(0.075)
    assert said["calibration_error"] == 0.0125, "of the whole label"


def test_the_shop_has_a_report_with_everything_in_it(shop):
    folder = next(iter(Path(get_settings().home).glob("reports/demo/*/evaluation.json"))).parent
    said = json.loads((folder / "evaluation.json").read_text())
    assert said["facts"]["peak_mib"] > 50
    assert [row["share"] for row in said["learning_curve"]["rows"]] == [0.25, 0.5, 0.75, 1.0]
    assert [row["field"] for row in said["ablation"]["rows"]] == ["title", "description", "brand", "also_buy", "price"]
    assert said["label_issues"]["judged"] == said["facts"]["rows"]
    assert pl.read_csv(folder / "label_issues.csv").height == said["label_issues"]["count"]
    assert said["precision_coverage"][0]["points"][-1]["precision"] == pytest.approx(said["metrics"]["accuracy"])
    assert set(said["intervals"]) == {"accuracy", "macro_f1", "weighted_f1"}
    card = next(iter(Path(get_settings().home).glob("models/demo/*/card.md"))).read_text()
    assert all(sentence.partition("<")[0].partition("|")[0] in card for sentence in said["findings"])


def test_every_file_that_a_run_and_a_model_leave_is_described(shop):
    described = (PROJECT / "docs" / "homes.md").read_text()
    home = Path(get_settings().home)
    left = {path.name for folder in ("reports/demo/*/*", "models/demo/*/*") for path in home.glob(folder)}
    assert {"evaluation.json", "label_issues.csv", "card.md"} < left
    assert {name for name in left if f"`{name}`" not in described} == set()


def test_a_long_training_is_studied_only_when_asked():
    split = Split(resolve(shop_products(300)[0]), *(2 * [shop_products(300)[1]]))
    model = fit(split.train, shop_products(300)[0], split.recipe, 0)
    quick, long = Candidate(model, 1.0, 100.0), Candidate(model, 16.0, 100.0)
    assert skipped("demo", split, quick, asked=False) == ""
    assert skipped("demo", split, long, asked=True) == ""
    assert "aisle train demo --study" in skipped("demo", split, long, asked=False)
    nothing_held = Split(split.recipe, split.train, split.train.clear())
    assert "no held-out products" in skipped("demo", nothing_held, quick, asked=True)
