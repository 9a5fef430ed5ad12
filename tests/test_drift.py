"""Drift: what moved is found and named, what did not move raises no alarm, and odd data is a result, not a crash."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from catalogs import registry
from catalogs.spec import CatalogSpec
from reports import distances, drift, drift_page
from reports.measures import Knowledge, rejected_share

BRANDS = ["Acme", "Borealis", "Cumulus", "Delta"]
WORDS = ["lamp", "table", "chair", "oak", "steel", "round", "small", "garden", "desk", "wall"]


def shop(**drift_options: object) -> CatalogSpec:
    """A catalogue with a field of each kind."""
    fields = [("title", "text"), ("brand", "keyword"), ("also_buy", "ids"), ("price", "number")]
    return CatalogSpec.model_validate(
        {
            "name": "shop",
            "title": "A shop",
            "label": {"column": "aisle"},
            "fields": [{"name": name, "kind": kind} for name, kind in fields],
            "drift": drift_options,
        }
    )


def products(rows: int, seed: int) -> pl.DataFrame:
    """Products of one unchanging world."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(8, 1, rows)
    return pl.DataFrame(
        {
            "title": [" ".join(rng.choice(WORDS, rng.integers(2, 7))) for _ in range(rows)],
            "brand": rng.choice(BRANDS, rows, p=[0.4, 0.3, 0.2, 0.1]),
            "also_buy": [list(rng.choice(["B1", "B2", "B3", "B4"], rng.integers(0, 4))) for _ in range(rows)],
            "price": np.exp(rng.normal(3, 1, rows)),
            "label": rng.choice(["Home", "Office", "Garden"], rows, p=[0.5, 0.3, 0.2]),
            "confidence": confidence,
            "decision": np.where(confidence > 0.8, "accepted", "review"),
        },
        schema_overrides={"also_buy": pl.List(pl.String)},
    )


def quickly(reference: pl.DataFrame, current: pl.DataFrame, spec: CatalogSpec, seed: int = 0) -> drift.DriftResult:
    return drift.compare(reference, current, spec, comparison="catalogue", seed=seed, pictures=False)


def drifted(result: drift.DriftResult) -> set[tuple[str, str]]:
    return set(result.scores.filter("drifted").select("metric", "field").iter_rows())


@pytest.fixture(scope="module")
def styles(shared_data: Path) -> pl.DataFrame:
    """Fashion products by year, with the source's label in the place of a prediction."""
    raw = pl.read_csv(shared_data / "myntra" / "styles.csv", infer_schema=False, truncate_ragged_lines=True)
    label = pl.concat_str("masterCategory", "subCategory", "articleType", separator=" > ")
    return raw.select(
        pl.col("productDisplayName").alias("name"), "gender", "usage", "year", colour="baseColour", label=label
    )


@pytest.fixture(scope="module")
def two_years(styles: pl.DataFrame) -> drift.DriftResult:
    years = [styles.filter(pl.col("year") == year) for year in ("2011.0", "2012.0")]
    spec = registry.load("myntra")
    return drift.compare(*years, spec, comparison="catalogue", seed=0, most_rows=3000)


def test_a_shift_of_the_label_mix_on_real_products_is_found_and_named(two_years):
    assert two_years.drifted
    assert ("label_mix", "label") in drifted(two_years)
    moved = two_years.changes[two_years.scores["metric"].to_list().index("label_mix")]
    assert "Apparel > Topwear > Tshirts" in moved
    assert two_years.summary.startswith("Drift: ")
    assert "passed" not in two_years.summary, "which is what a check of the gate does that finds nothing"


def test_a_score_is_the_same_number_in_the_summary_and_on_the_page(two_years, tmp_path):
    strongest = two_years.scores.sort(pl.col("score") / pl.col("threshold"), descending=True).row(0, named=True)
    shown = f"{strongest['score']:.3f}", f"{strongest['threshold']:.3f}"
    assert f"{drift.title(strongest)} ({shown[0]}, threshold {shown[1]}: " in two_years.summary
    page = drift_page.write(tmp_path, two_years, catalog="myntra").read_text()
    assert all(
        f'<td class="num" data-label="{name}">{value}</td>' in page
        for name, value in zip(("Score", "Threshold"), shown, strict=True)
    )


def test_scores_are_those_of_evidently(two_years):
    assert two_years.report is not None
    theirs = two_years.report.scores()
    ours = {(row["metric"], row["field"]): row["score"] for row in two_years.scores.iter_rows(named=True)}
    assert {metric for metric, _ in theirs} >= {"missing_share", "length", "word_count", "values", "label_mix"}
    assert theirs == pytest.approx({key: ours[key] for key in theirs}, abs=1e-9)


def test_real_products_dealt_at_random_raise_no_more_alarms_than_stated(styles):
    spec = registry.load("myntra")
    alarms = 0
    for seed in range(20):
        dealt = styles.sample(2600, shuffle=True, seed=seed)
        alarms += quickly(dealt[:2000], dealt[2000:], spec, seed).drifted
    # 5 % of 20 is one; four or more would happen once in 60 times even so.
    assert alarms <= 3


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (pl.lit(None, pl.String).alias("brand"), ("missing_share", "brand")),
        (pl.when(pl.col("price") < 8).then(pl.lit("New")).otherwise("brand").alias("brand"), ("values", "brand")),
        ((pl.col("price") * 1.5).alias("price"), ("value", "price")),
        (pl.lit(None, pl.Float64).alias("price"), ("missing_share", "price")),
        (pl.col("title").str.replace("lamp", "Lampe").alias("title"), ("words", "title")),
        (pl.concat_str("title", pl.lit(" free delivery")).alias("title"), ("length", "title")),
        (pl.lit([], pl.List(pl.String)).alias("also_buy"), ("missing_share", "also_buy")),
        (pl.col("label").replace("Garden", "Office").alias("label"), ("label_mix", "label")),
        ((pl.col("confidence") ** 2).alias("confidence"), ("confidence", "confidence")),
        (pl.lit("review").alias("decision"), ("review_share", "decision")),
    ],
)  # fmt: skip
def test_each_kind_of_change_is_found_where_it_happened(change, found):
    result = quickly(products(2000, 1), products(1000, 2).with_columns(change), shop())
    assert found in drifted(result)
    assert {field for _, field in drifted(result)} == {found[1]}


def test_unknown_words_are_found_when_the_vocabulary_is_given():
    current = products(1000, 2).with_columns(pl.col("title").str.replace("oak", "chêne"))
    result = drift.compare(
        products(2000, 1),
        current,
        shop(),
        comparison="catalogue",
        seed=0,
        knowledge=Knowledge({"title": WORDS}),
        pictures=False,
    )
    assert ("unknown_word_share", "title") in drifted(result)
    assert any(change.startswith("unknown words 0 % → ") for change in result.changes)


@pytest.mark.parametrize("rows", [60, 500])
def test_small_samples_of_one_world_raise_no_more_alarms_than_stated(rows):
    spec = shop(min_rows=50)
    results = [quickly(products(rows, 2 * seed), products(rows, 2 * seed + 1), spec, seed) for seed in range(40)]
    # 5 % of 40 are two; six or more would happen once in 80 times even so.
    assert sum(result.drifted for result in results) <= 5


def test_a_threshold_is_raised_where_chance_alone_would_pass_it():
    small, large = (quickly(products(rows, 1), products(rows, 2), shop(min_rows=50)) for rows in (60, 4000))
    thresholds = [
        result.scores.filter(pl.col("metric") == "label_mix")["threshold"].item() for result in (small, large)
    ]
    assert thresholds[0] > 0.1
    assert thresholds[1] == 0.1


def test_the_same_rows_and_seed_give_the_same_scores():
    first, second = (quickly(products(700, 1), products(700, 2), shop(), seed=5) for _ in range(2))
    assert first.scores.equals(second.scores)
    assert first.scores.schema == pl.Schema(drift.SCORES)
    assert first.scores["seed"].unique().to_list() == [5]


def test_sampling_is_stated():
    many = products(900, 1)
    result = drift.compare(many, many, shop(), comparison="catalogue", seed=0, most_rows=600, pictures=False)
    assert [note for note in result.notes if "600 of 900" in note]
    assert result.rows == (900, 900)
    assert result.scores["n_current"].max() == 600


@pytest.mark.parametrize("method", ["psi", "hellinger", "jensenshannon", "wasserstein"])
def test_every_method_of_the_spec_finds_drift_and_no_drift(method):
    kinds = ["text", "keyword", "ids", "number", "label", "confidence"]
    spec = shop(methods=dict.fromkeys(kinds, method))
    assert not quickly(products(3000, 1), products(3000, 2), spec).drifted
    moved = products(3000, 2).with_columns(pl.col("price") * 4, pl.lit("Acme").alias("brand"))
    assert {("value", "price"), ("values", "brand")} <= drifted(quickly(products(3000, 1), moved, spec))


@pytest.mark.parametrize(
    ("current", "said"),
    [
        (products(1000, 2).head(0), "0 current rows"),
        (products(1000, 2).head(1), "1 current rows"),
        (pl.DataFrame(), "0 current rows"),
    ],
)
def test_too_few_rows_are_a_result_without_verdict(current, said, tmp_path):
    result = drift.compare(products(1000, 1), current, shop(), comparison="arrivals", seed=0)
    assert not result.drifted
    assert not result.judged
    assert said in result.summary
    assert result.scores["drifted"].null_count() == result.scores.height
    page = drift_page.write(tmp_path, result, catalog="shop")
    assert "no verdict" in page.read_text()
    machine = json.loads(page.with_suffix(".json").read_text())
    assert (machine["verdict"], machine["drifted"]) == ("no verdict", None)


def test_a_reference_without_rows_or_columns_is_a_result_without_verdict():
    result = quickly(pl.DataFrame(), products(1000, 1), shop())
    assert not result.judged
    assert len(result.notes) == 4 + 3
    assert result.scores.is_empty()


def test_a_missing_column_counts_as_missing_values_and_is_said():
    result = quickly(products(1000, 1), products(1000, 2).drop("brand", "confidence"), shop())
    assert drifted(result) == {("missing_share", "brand")}
    assert any(note.startswith("brand is not a column of the current rows") for note in result.notes)
    assert any(note.startswith("Confidence is not compared") for note in result.notes)


def test_a_reference_of_another_schema_is_said_not_raised():
    odd = products(1000, 1).drop("also_buy").with_columns(pl.lit("ten").alias("price"))
    result = quickly(odd, products(1000, 2), shop())
    assert not result.drifted
    assert any(note.startswith("also_buy is not compared") for note in result.notes)
    assert any(note.startswith("price is not compared") for note in result.notes)


def test_columns_without_any_value_are_compared_as_far_as_they_go():
    emptied = [products(1000, seed).with_columns(pl.lit(None, pl.String).alias("title")) for seed in (1, 2)]
    result = quickly(*emptied, shop())
    assert not result.drifted
    length = result.scores.filter(pl.col("metric") == "length")
    assert length["score"].to_list() == [None]
    assert length["drifted"].to_list() == [None]


def test_a_field_that_few_products_have_keeps_a_threshold():
    """Dealt out with rows that lack it, all that have it could land on one side: a distance from nothing is none."""
    given = {"also_buy": [["B1"], ["B1", "B2"], ["B2"], *([[]] * 397)]}
    sides = [products(400, seed).with_columns(pl.DataFrame(given)) for seed in (1, 2)]
    result = quickly(*sides, shop())
    row = result.scores.row(by_predicate=(pl.col("metric") == "values") & (pl.col("field") == "also_buy"), named=True)
    assert (row["score"], row["drifted"]) == (0, False)
    assert 0.1 < row["threshold"] < 0.8, "raised to what chance reaches with three products"


def test_a_field_may_be_called_what_a_metric_is_of():
    """The catalogue of newsgroups has a field `text`."""
    fields = [{"name": "text", "kind": "text"}, {"name": "rows", "kind": "keyword"}]
    spec = CatalogSpec.model_validate({"name": "s", "title": "S", "label": {"column": "aisle"}, "fields": fields})
    renamed = [products(600, seed).rename({"title": "text", "brand": "rows"}) for seed in (1, 2)]
    rejected = rejected_share((1_000, 10), (1_000, 400), spec)
    result = drift.compare(*renamed, spec, comparison="arrivals", seed=0, more=rejected)
    titles = [drift.title(row) for row in result.scores.iter_rows(named=True)]
    assert {"Missing values (text)", "Words used (text)", "Mix of values (rows)", "Missing values (rows)"} <= set(
        titles
    )
    assert "Rejected rows" in titles
    assert len(titles) == len(set(titles))
    assert result.report is not None
    assert ("values", "rows") in result.report.scores()
    assert ("rejected_share", "rows") not in result.report.scores(), "made of two counts, it would be no picture"


def test_a_label_that_is_called_by_anothers_name_is_told_in_words():
    sides = [products(1000, seed).with_columns(known_path=pl.concat_list("label")) for seed in (1, 2)]
    swapped = pl.col("label").replace({"Home": "Office", "Office": "Home"})
    result = quickly(sides[0], sides[1].with_columns(known_path=pl.concat_list(swapped)), shop())
    said = result.changes[result.scores["metric"].to_list().index("known_and_predicted")]
    assert "Home recognised " in said
    assert "Office taken for Home 0 % → " in said
    assert "Home taken for Home" not in said


def test_infinite_and_undefined_numbers_do_no_harm():
    odd = products(1000, 2).with_columns(
        pl.when(pl.int_range(pl.len()) == 3).then(float("inf")).otherwise("price").alias("price"),
        pl.when(pl.int_range(pl.len()) == 4).then(float("nan")).otherwise("confidence").alias("confidence"),
    )
    assert not quickly(products(1000, 1), odd, shop()).drifted


def test_the_page_says_the_verdict_links_evidently_and_needs_no_network(tmp_path):
    evil = "</script><script>document.title='owned'</script>"
    current = products(900, 2).with_columns(pl.lit(evil).alias("brand"), pl.lit(None, pl.Float64).alias("price"))
    result = drift.compare(products(900, 1), current, shop(), comparison="catalogue", seed=0)
    page = drift_page.write(tmp_path, result, catalog="shop", run_id="r1", model_version="v1")
    text = page.read_text()
    assert page.name == "drift_catalogue.html"
    assert "Mix of values (brand)" in text
    assert evil not in text
    assert 'href="drift_catalogue_evidently.html"' in text
    theirs = (tmp_path / "drift_catalogue_evidently.html").read_text()
    assert evil not in theirs
    assert "brand: values" in theirs
    for html in (text, theirs):
        assert not re.search(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["']?(?:https?:)?//""", html)
    machine = json.loads((tmp_path / "drift_catalogue.json").read_text())
    assert (machine["kind"], machine["catalog"], machine["run_id"], machine["drifted"]) == ("drift", "shop", "r1", True)
    assert len(machine["scores"]) == result.scores.height


def test_distances_are_those_of_scipy():
    rng = np.random.default_rng(0)
    p, q = rng.integers(1, 50, 12).astype(float), rng.integers(0, 50, 12).astype(float)
    assert distances.distance("jensenshannon", p, q) == pytest.approx(jensenshannon(p, q))
    support = np.sort(rng.normal(0, 1, 12))
    travelled = wasserstein_distance(support, support, p, q)
    spread = np.sqrt(np.cov(support, aweights=p, ddof=0))
    assert distances.earth_mover(support, p, q) == pytest.approx(travelled / spread)


def test_chance_is_what_shuffling_the_rows_gives():
    rng = np.random.default_rng(0)
    reference, current = rng.lognormal(0, 1, 3000), rng.lognormal(0, 1, 400)
    pooled = np.concatenate([reference, current])
    plain = []
    for _ in range(300):
        rng.shuffle(pooled)
        plain.append(distances.wasserstein(pooled[:3000], pooled[3000:]))
    dealt = distances.null_of_values(reference, current, shuffles=300, rng=np.random.default_rng(1))
    assert np.quantile(dealt, [0.25, 0.5, 0.75]) == pytest.approx(np.quantile(plain, [0.25, 0.5, 0.75]), rel=0.12)
