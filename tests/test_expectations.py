"""Every row is decided with every reason, and Great Expectations says the same of each of them."""

import random
import subprocess
import sys
from itertools import islice
from pathlib import Path

import jinja2
import numpy as np
import polars as pl
import pytest

from catalogs import registry
from catalogs.batches import SourceFile
from catalogs.normalise import normalise
from catalogs.product import schema
from catalogs.readers import read
from catalogs.spec import CatalogSpec
from expectations import sample as sampling
from expectations.decide import decide, failures
from expectations.rules import Rule, compile, counted  # noqa: A004
from expectations.sample import Sample
from expectations.suite import run_suite, validate

# A rule of every kind on a field of every kind that it fits.
SHOP = CatalogSpec.model_validate(
    {
        "name": "shop",
        "title": "Every rule on every kind of field",
        "id": "sku",
        "label": {"column": "aisle", "allowed": ["Books", "Toys & Games", "Men's Shoes"]},
        "fields": [
            {"name": "title", "kind": "text"},
            {"name": "text", "kind": "text", "column": "description"},
            {"name": "brand", "kind": "keyword"},
            {"name": "also", "kind": "ids"},
            {"name": "price", "kind": "number"},
        ],
        "keep": ["colour"],
        "expectations": [
            {"column": "title", "rule": "not_empty", "reason": "a product needs a title"},
            {
                "column": "title",
                "rule": "length_between",
                "min": 3,
                "max": 12.5,
                "reason": "the title has a strange length",
            },
            {
                "column": "title",
                "rule": "not_matches",
                "pattern": r"<[a-z]+|\bvar\s|\.$",
                "reason": "the title is code",
            },
            {
                "column": "text",
                "rule": "matches",
                "pattern": r"(?i)^[^$]*(a|\d|é)",
                "reason": "says nothing",
                "severity": "warn",
            },
            {"column": "brand", "rule": "in_set", "values": ["Sony", "", "Ünal"], "reason": "unknown brand"},
            {"column": "also", "rule": "not_empty", "reason": "bought alone", "severity": "warn"},
            {"column": "also", "rule": "length_between", "max": 2, "reason": "too many"},
            {"column": "price", "rule": "not_empty", "reason": "no price", "severity": "warn"},
            {"column": "price", "rule": "between", "min": 0, "max": 99.5, "reason": "the price is no price"},
            {"column": "price", "rule": "between", "min": 1, "reason": "cheap", "severity": "warn"},
            {"column": "colour", "rule": "matches", "pattern": r"^\w+$", "reason": "several colours"},
            {
                "column": "product_id",
                "rule": "matches",
                "pattern": "^[A-Z0-9]{4}$",
                "reason": "odd id",
                "severity": "warn",
            },
        ],
    }
)
TEXTS = [
    *(None, "", " ", "\u00a0", "\u2003\t", "ab", "abc", "Books", "books", "twelve chars", "thirteen char"),
    *("<img src=x>", "a\nb", "ends.", "ends.\n", "x var y", "'quoted' \"text\"", "nan", "None", "99", "é", "é"),
    *(
        "😀😀😀",
        "$HOME {value} {}",
        "&lt;b&gt;",
        "\u202egnp",
        "a\x00b",
        "Sony",
        "sony",
        "Ünal",
        "two colours",
        "0" * 500,
    ),
]
NUMBERS = [None, 0.0, -0.0, -1e-9, 1.0, 99.5, 99.5000001, 1e300, -5.0, float("nan"), float("inf"), float("-inf")]
LABELS = [
    *(None, ["Books"], ["Toys & Games"], ["Men's Shoes"], ["books"], ["Boks"], ["Foo"], ["nan"]),
    *(['<img src="x" alt="AMAZON FASHION"/>'], [" <b>Books</b>"], ["< 5 years"]),
]


def products(rows: list[dict[str, object]], spec: CatalogSpec = SHOP) -> pl.DataFrame:
    """A canonical frame with `raw`; what a row does not say is a good product's."""
    good = {
        "product_id": "A001",
        "title": "a title",
        "text": "a text",
        "known_path": ["Books"],
        "source_file": "shop.jsonl",
    }
    filled = [{"source_row": at, "raw": f'{{"row": {at}}}'} | good | row for at, row in enumerate(rows, start=1)]
    return pl.DataFrame(filled, schema={**schema(spec), "raw": pl.String()})


def generated(rows: int, seed: int) -> pl.DataFrame:
    """Rows of every nasty value there is, in every combination that a seed gives."""
    pick = random.Random(seed)
    return products(
        [
            {
                "product_id": pick.choice(["A001", "B2", None, "", "A001\n", *TEXTS[:5]]),
                "known_path": pick.choice(LABELS),
                "title": pick.choice(TEXTS),
                "text": pick.choice(TEXTS),
                "brand": pick.choice(TEXTS),
                "colour": pick.choice(TEXTS),
                "also": pick.choice([None, [], ["B1"], ["B1", "B2"], ["B1", "B2", "B3"]]),
                "price": pick.choice(NUMBERS),
            }
            for _ in range(rows)
        ]
    )


def real(shared_data: Path, catalog: str, file: str, form: str, batches: int = 2) -> tuple[pl.DataFrame, CatalogSpec]:
    """The first rows of a real file, as ingest sees them."""
    spec = registry.load(catalog)
    source = SourceFile(shared_data / file, Path(file).name, form, compressed=file.endswith(".gz"))
    parts = islice(read(source, spec, batch_rows=5_000), batches)
    return pl.concat(normalise(part.frame, spec, source.name) for part in parts), spec


def assert_equal_row_by_row(frame: pl.DataFrame, spec: CatalogSpec, folder: Path) -> int:
    """Great Expectations finds the very rows that Polars finds, for every rule; gives the number of findings."""
    result = run_suite(frame, spec, folder, seed=0)
    broken = failures(frame, compile(spec))
    assert [one.name for one in result.results] == broken.columns
    for one in result.results:
        assert one.error is None, one
        assert list(one.rows) == broken[one.name].arg_true().to_list(), one.name
        assert one.disagreements == 0, one.name
    assert result.agrees
    assert result.rows == result.of == frame.height
    return sum(one.failed for one in result.results)


# Decisions


def test_every_row_ends_in_good_or_in_rejects():
    frame = generated(3_000, seed=1)
    decided = decide(frame, SHOP)
    both = sorted([*decided.good["source_row"], *decided.rejects["source_row"]])
    assert both == frame["source_row"].to_list()
    assert decided.good.height > 0
    assert dict(decided.good.schema) == schema(SHOP)


def test_a_rejected_row_keeps_its_raw_text_place_and_every_reason():
    frame = products([{}, {"product_id": None, "known_path": ["Foo"], "price": -3.0}, {}])
    decided = decide(frame, SHOP)
    assert decided.good["source_row"].to_list() == [1, 3]
    assert decided.rejects.to_dicts() == [
        {
            "source_file": "shop.jsonl",
            "source_row": 2,
            "raw": '{"row": 2}',
            "reasons": [
                "the id is missing (column sku)",
                "label 'Foo' is not one of the 3 allowed labels",
                "the price is no price: price is '-3.0'",
            ],
        }
    ]


@pytest.mark.parametrize(
    ("wrong", "reasons"),
    [
        (
            {"title": None, "text": "\u00a0"},
            ["every text field is empty: title, text", "a product needs a title"],
        ),
        (
            {"known_path": ["toys & games"]},
            ["label 'toys & games' is not one of the 3 allowed labels (did you mean 'Toys & Games'?)"],
        ),
        (
            {"known_path": ["<img src='x'/>"]},
            [
                "label '<img src='x'/>' is not one of the 3 allowed labels",
                "label '<img src='x'/>' is markup, not a label",
            ],
        ),
        ({"title": "<b>{value}"}, ["the title is code: title is '<b>{value}'"]),
        ({"brand": "Sonny"}, ["unknown brand: brand is 'Sonny' (did you mean 'Sony'?)"]),
        ({"also": ["B1", "B2", "B3"]}, ["too many: also is 'B1, B2, B3'"]),
        ({"colour": "a\x00\n  b"}, ["several colours: colour is 'a b'"]),
        ({"colour": "x " * 60}, ["several colours: colour is '" + "x " * 40 + "…'"]),
    ],
)
def test_a_reason_is_a_sentence_that_names_column_and_value(wrong, reasons):
    rejects = decide(products([wrong]), SHOP).rejects
    assert rejects["reasons"].to_list() == [reasons]


def test_a_warning_keeps_the_row_and_is_counted():
    decided = decide(products([{"price": 0.5}, {"price": 5.0}, {"price": None}]), SHOP)
    assert decided.good.height == 3
    assert decided.warnings["price_between_2"] == 1
    assert decided.warnings["price_not_empty"] == 1
    assert decided.failed["price_between"] == 0


def test_an_unlabelled_product_is_good():
    assert decide(products([{"known_path": None}]), SHOP).rejects.is_empty()


def test_a_batch_without_rows_is_decided_too():
    decided = decide(products([]), SHOP)
    assert (decided.good.height, decided.rejects.height, sum(decided.failed.values())) == (0, 0, 0)


def test_a_frame_without_raw_text_is_decided_the_same():
    frame = generated(300, seed=2)
    with_raw, without = decide(frame, SHOP), decide(frame.drop("raw"), SHOP)
    assert without.rejects["reasons"].to_list() == with_raw.rejects["reasons"].to_list()
    assert without.rejects["raw"].null_count() == without.rejects.height


def test_counts_name_every_rule_and_what_its_catalogue_says():
    rules = compile(SHOP)
    lines = counted(rules, {"text_empty": 7})
    assert [line.name for line in lines] == [rule.name for rule in rules]
    assert len({line.name for line in lines}) == len(lines)
    assert {line.name: line.failed for line in lines}["text_empty"] == 7
    assert {line.name: line.why for line in lines}["price_between_2"] == "cheap"


@pytest.mark.parametrize("name", registry.names())
def test_the_rules_of_every_built_in_catalogue_can_be_asked(name):
    spec = registry.load(name)
    good = {field.name: None for field in spec.fields} | {spec.text_fields[0]: "Some product"}
    frame = products([{"title": None, "text": None} | good | {"known_path": None}], spec)
    assert decide(frame, spec).good.height == 1


# Great Expectations says the same


def test_both_engines_agree_row_by_row_on_generated_rows(tmp_path):
    assert assert_equal_row_by_row(generated(3_000, seed=3), SHOP, tmp_path) > 5_000


@pytest.mark.parametrize(
    ("catalog", "file", "form"),
    [
        ("amazon", "amazon2018/meta_Magazine_Subscriptions.json.gz", "jsonl"),
        ("asos", "asos/exercise_train.tsv", "tsv"),
        ("elo7", "elo7/products.csv", "csv"),
    ],
)
def test_both_engines_agree_row_by_row_on_real_rows(shared_data, tmp_path, catalog, file, form):
    frame, spec = real(shared_data, catalog, file, form)
    assert frame.height > 3_000
    assert_equal_row_by_row(frame, spec, tmp_path)


def test_a_row_on_which_the_engines_differ_is_counted_and_polars_decides(tmp_path):
    # A vowel sign is part of a word to Rust's regular expressions, and not to Python's.
    frame = products([{"colour": "red"}, {"colour": "क्या"}])
    result = run_suite(frame, SHOP, tmp_path, seed=0)
    assert {one.name: one.disagreements for one in result.results if one.disagreements} == {"colour_matches": 1}
    assert not result.agrees
    assert decide(frame, SHOP).good.height == 2


def test_both_engines_agree_where_nothing_is_there(tmp_path):
    assert assert_equal_row_by_row(products([]), SHOP, tmp_path) == 0
    nothing = {"product_id": None, "title": None, "text": None, "known_path": None}
    assert assert_equal_row_by_row(products([nothing] * 3), SHOP, tmp_path) > 0


def test_a_question_that_fails_to_run_is_told_and_not_taken_for_a_result(tmp_path):
    # Rust knows this pattern and Python does not; a spec would refuse it.
    [rule] = [rule for rule in compile(SHOP) if rule.name == "colour_matches"]
    check = type(rule.checks[0])("colour", pl.col("colour"), "matches", pattern=r"^\p{L}+$")
    broken = Rule("letters", "colour", "reject", "letters only", "not letters", "{value}", pl.col("colour"), (check,))
    sample = Sample(SHOP, seed=0, rules=[rule, broken])
    sample.add(products([{"colour": "red"}]))
    result = validate(sample, tmp_path)
    assert [one.error is None for one in result.results] == [True, False]
    assert not result.agrees
    assert not result.success


def test_data_docs_show_product_text_without_running_it(tmp_path):
    frame = products([{"known_path": ["<script>alert(1)</script>"], "brand": "<img src=x onerror=alert(2)>"}])
    result = run_suite(frame, SHOP, tmp_path / "docs", seed=0)
    pages = "".join(page.read_text() for page in (tmp_path / "docs").rglob("*.html"))
    assert result.docs.is_file()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in pages
    assert "<script>alert(1)" not in pages
    assert "<img src=x" not in pages
    assert sum(file.stat().st_size for file in (tmp_path / "docs").rglob("*") if file.is_file()) < 500_000


def test_the_pages_of_the_next_batch_compile_no_template_again(tmp_path, monkeypatch):
    run_suite(generated(20, seed=1), SHOP, tmp_path / "first", seed=0)
    compiled = []
    compile_template = jinja2.Environment.compile

    def noting(self, source, name=None, *rest, **options):
        compiled.append(name)
        return compile_template(self, source, name, *rest, **options)

    monkeypatch.setattr(jinja2.Environment, "compile", noting)
    docs = run_suite(generated(20, seed=2), SHOP, tmp_path / "second", seed=0).docs
    assert compiled == []
    assert "Expectation" in docs.read_text()


# The sample


def test_above_its_most_rows_the_suite_runs_on_a_stated_sample(tmp_path):
    frame = generated(500, seed=4)
    result = run_suite(frame, SHOP, tmp_path, seed=5, most_rows=200)
    assert (result.rows, result.of, result.sampled, result.seed) == (200, 500, True, 5)
    assert result.agrees
    broken = failures(frame, compile(SHOP))
    for one in result.results:
        assert set(one.rows) <= set(broken[one.name].arg_true())


def test_up_to_its_most_rows_a_sample_is_all_and_of_more_it_is_smaller(monkeypatch):
    monkeypatch.setattr(sampling, "SAMPLE_ROWS", 20)
    frame = generated(600, seed=8)
    broken = failures(frame, compile(SHOP))
    sample = Sample(SHOP, 0, most_rows=100)
    for start in range(0, 600, 20):
        sample.add(frame.slice(start, 20))
        held = sample.drawn.size
        assert held == sample.seen if sample.seen <= 100 else held <= 20 * sampling.SLACK
    assert (len(sample.rows), sample.sampled) == (20, True)
    assert sample.broken.equals(broken[sample.rows])
    for rows in (20, 100):
        all_of_them = Sample(SHOP, 0, most_rows=100)
        all_of_them.add(frame.head(rows))
        assert (all_of_them.rows.to_list(), all_of_them.sampled) == (list(range(rows)), False)


@pytest.mark.parametrize("most_rows", [20, 100])
def test_a_sample_of_files_is_of_all_their_rows(most_rows, monkeypatch):
    monkeypatch.setattr(sampling, "SAMPLE_ROWS", 20)
    frame = generated(300, seed=9)
    files = [Sample(SHOP, seed, most_rows) for seed in range(3)]
    drawn = np.concatenate([np.random.default_rng(seed).random(100) for seed in range(3)])
    for number, file in enumerate(files):
        file.add(frame.slice(100 * number, 60))
        file.add(frame.slice(100 * number + 60, 40))
    whole = Sample.merged(files)
    assert whole.rows.to_list() == sorted(np.argsort(drawn)[:20].tolist())
    assert whole.broken.equals(failures(frame, compile(SHOP))[whole.rows])


def test_a_sample_takes_what_was_decided_for_it():
    frame = generated(50, seed=10)
    decided = failures(frame, compile(SHOP))
    told = decided.select(~pl.all())
    sample = Sample(SHOP, 0)
    sample.add(frame, told)
    assert sample.broken.equals(told)
    assert not sample.broken.equals(decided)


@pytest.mark.parametrize("most_rows", [50, 200])
def test_a_sample_depends_on_its_seed_and_not_on_how_rows_arrive(most_rows, monkeypatch):
    monkeypatch.setattr(sampling, "SAMPLE_ROWS", 50)
    frame = generated(700, seed=6)
    whole, parts, other = (Sample(SHOP, seed, most_rows) for seed in (0, 0, 1))
    whole.add(frame)
    other.add(frame)
    for start in range(0, 700, 90):
        parts.add(frame.slice(start, 90))
    assert whole.rows.to_list() == parts.rows.to_list()
    assert whole.values.equals(parts.values)
    assert whole.broken.equals(parts.broken)
    assert whole.broken.equals(failures(frame, compile(SHOP))[whole.rows])
    assert whole.rows.to_list() != other.rows.to_list()


def test_every_row_is_as_likely_to_be_in_the_sample():
    frame = products([{} for _ in range(40)])
    hits = [0] * 40
    for seed in range(300):
        sample = Sample(SHOP, seed, most_rows=10)
        for start in range(0, 40, 7):
            sample.add(frame.slice(start, 7))
        assert len(sample.rows) == 10
        for row in sample.rows:
            hits[row] += 1
    # 75 expected of 300 draws, with a deviation of 7.5; five deviations are for bad luck among 40.
    assert min(hits) > 37
    assert max(hits) < 113


GROWTH = """
import polars as pl
from tests.resident import resident_mib
from tests.test_expectations import SHOP, Sample, products

sample = Sample(SHOP, 0, most_rows=1_000)
batch = products([{}] * 10_000)
for number in range(60):
    sample.add(batch.with_columns(title=pl.concat_str(pl.int_range(pl.len()), pl.lit("x" * 1_000))))
    if number == 20:
        before = resident_mib()
print(len(sample.rows), resident_mib() - before)
"""


def test_a_sample_holds_its_own_rows_and_not_the_batches_they_came_in():
    """40 batches of 10 MB: Polars' rows share the texts of the frame that they were picked from."""
    done = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True)
    rows, grown_mib = map(int, done.stdout.split())
    assert rows == 1_000
    assert grown_mib < 150


def test_samples_of_several_files_merge_into_one_of_all_rows():
    frame = generated(600, seed=7)
    broken = failures(frame, compile(SHOP))
    files = [Sample(SHOP, seed, most_rows=90) for seed in range(3)]
    for start, file in zip((0, 50, 300), files, strict=True):
        file.add(frame.slice(start, {0: 50, 50: 250, 300: 300}[start]))
    whole = Sample.merged(files)
    assert (whole.seen, len(whole.rows), whole.sampled) == (600, 90, True)
    assert whole.broken.equals(broken[whole.rows])
    assert {row // 100 for row in whole.rows} == set(range(6))
    assert [file.seen for file in files] == [50, 250, 300]


def test_importing_the_floor_does_not_import_great_expectations():
    code = "import sys, expectations.decide, expectations.suite, reports.validation; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"great_expectations", "pandas", "prefect"} & set(loaded)
