"""The validation page tells what became of every row, opens offline, and shows product text without obeying it."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import orjson
import polars as pl
import pytest

from expectations.decide import REJECTS_SCHEMA
from expectations.rules import RuleCount
from expectations.suite import RuleResult, SuiteResult
from reports import page
from reports.validation import ColumnProfile, profile, reason_kinds, write

HOSTILE = "<script>document.title='taken'</script><img src=x onerror=alert(1)>\"'{{ 7919*7 }}\u202e\x00\x1b[31m"
COUNTS = {"read": 100, "stored": 60, "unchanged": 10, "repeated": 5, "rejected": 25, "removed": 3}
RULES = [
    RuleCount("id_missing", "sku", "reject", "sku is not empty", "the id is missing", 5),
    RuleCount("title_odd", "title", "warn", r"title does not match <b>\w+", HOSTILE, 7),
]
SUITE = SuiteResult(
    rows=90,
    of=90,
    sampled=False,
    seed=0,
    results=(
        RuleResult("id_missing", "reject", tuple(range(5)), 0),
        RuleResult("title_odd", "warn", tuple(range(7)), 0),
    ),
    docs=Path("data_docs/index.html"),
)
CONFLICT = {
    "product_id": "A",
    "source_file": "in/shop.jsonl",
    "source_row": 13,
    "known_path": ["Toys", "Games"],
    "kept_source": "in/shop.jsonl",
    "kept_line": 1_400,
    "kept_path": None,
    "differs": ["known_path", "title"],
}
CONFLICT_SCHEMA = dict.fromkeys(CONFLICT, pl.String) | {
    "source_row": pl.Int64,
    "kept_line": pl.Int64,
    "known_path": pl.List(pl.String),
    "kept_path": pl.List(pl.String),
    "differs": pl.List(pl.String),
}
NO_CONFLICTS = pl.DataFrame(schema=CONFLICT_SCHEMA)


def rejects(rows: list[tuple[int, str | None, list[str]]]) -> pl.DataFrame:
    return pl.DataFrame([("shop.jsonl", *row) for row in rows], schema=REJECTS_SCHEMA, orient="row")


def conflicts(*changed: dict) -> pl.DataFrame:
    return pl.DataFrame([CONFLICT | one for one in changed], schema=CONFLICT_SCHEMA, orient="row")


def written(folder: Path, **changed) -> tuple[str, dict]:
    """The page and what its JSON says; `changed` replaces arguments."""
    arguments = {
        "catalog": "shop",
        "run_id": "r1",
        "source": "shop.jsonl",
        "counts": COUNTS,
        "rejects": rejects([(7, '{"a": 1}', ["the id is missing (column sku)"])]),
        "conflicts": NO_CONFLICTS,
        "rules": RULES,
        "suite": SUITE,
        "columns": [ColumnProfile("title", "text", 0.25, 12, ("a", "b"))],
        "docs_link": "data_docs/index.html",
    }
    path = write(folder, **{**arguments, **changed})
    return path.read_text(), orjson.loads((folder / "validation.json").read_bytes())


class Structure(HTMLParser):
    """Collects what a browser would load or run, and whether every tag is closed by its own end."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.handlers: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)
        assert self.open == [], self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action", "data")]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()


def text_of(html: str) -> str:
    """The words of a page, in one line."""
    return " ".join(re.sub(r"<[^>]*>", " ", html.split("</style>")[1]).split())


def test_the_page_says_what_became_of_every_row(tmp_path):
    html, machine = written(tmp_path)
    text = text_of(html)
    for words in ("100 rows read", "25 were rejected (25.0 %)", "every row accounted for", "60 stored", "3 removed"):
        assert words in text
    assert machine["rows"] == COUNTS
    assert machine["balanced"] is True


def test_one_rejected_row_was_rejected(tmp_path):
    html, _ = written(tmp_path, counts={"read": 10, "stored": 9, "rejected": 1})
    assert "1 was rejected (10.0 %)" in text_of(html)


def test_an_account_that_does_not_balance_is_told(tmp_path):
    html, machine = written(tmp_path, counts=COUNTS | {"stored": 59})
    assert "the account does not balance" in text_of(html)
    assert machine["balanced"] is False


def test_every_rule_is_listed_with_its_failures(tmp_path):
    html, machine = written(tmp_path)
    assert "the id is missing Rule: sku is not empty is rejected 5" in text_of(html)
    assert [(rule["name"], rule["failed"]) for rule in machine["rules"]] == [("id_missing", 5), ("title_odd", 7)]
    assert "agrees on every row and rule" in text_of(html)


def test_what_great_expectations_sees_differently_or_could_not_ask_is_told(tmp_path):
    odd = (replace(SUITE.results[0], disagreements=2), replace(SUITE.results[1], rows=(), error="no such column"))
    html, machine = written(tmp_path, suite=replace(SUITE, results=odd))
    text = text_of(html)
    for words in ("does not agree everywhere", "differs on 2 rows", "failed to run no such column"):
        assert words in text
    assert machine["suite"]["agrees"] is False


def test_a_sample_is_stated_with_its_size_and_seed(tmp_path):
    html, machine = written(tmp_path, suite=replace(SUITE, rows=50_000, of=1_250_000, sampled=True, seed=4))
    assert "on a sample of 50,000 of 1,250,000 rows (seed 4)" in text_of(html)
    assert machine["suite"]["sampled"] is True


def test_without_a_suite_the_page_says_so(tmp_path):
    html, machine = written(tmp_path, suite=None, docs_link=None)
    assert "suite did not run" in text_of(html)
    assert "Data Docs" not in html
    assert machine["suite"] is None


def test_product_text_is_shown_and_not_obeyed(tmp_path):
    html, _ = written(
        tmp_path,
        catalog=HOSTILE,
        run_id=HOSTILE,
        source=[HOSTILE, "b.jsonl"],
        rejects=rejects([(1, HOSTILE, [HOSTILE]), (2, None, [f"label '{HOSTILE}' is odd"])]),
        conflicts=conflicts({"product_id": HOSTILE, "known_path": [HOSTILE, "b"], "kept_source": HOSTILE}),
        columns=[ColumnProfile(HOSTILE, HOSTILE, 0.5, None, (HOSTILE,))],
    )
    structure = Structure(html)
    assert not structure.tags & {"script", "img", "iframe", "object", "embed", "link", "form"}
    assert structure.handlers == []
    assert "55433" not in text_of(html)
    assert not {"\x00", "\x1b", "\u202e"} & set(html)
    assert "␀" in html


def test_the_page_needs_no_network(tmp_path):
    html, _ = written(tmp_path)
    assert sorted(set(Structure(html).addresses)) == ["data_docs/index.html", "validation.json"]
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_every_kind_of_rejection_is_shown_however_rare(tmp_path):
    rows = [(at, f"raw {at}", [f"label 'L{at}' is not one of the 3 allowed labels"]) for at in range(1, 500)]
    rows += [(500 + at, f"cut {at}", [f"not valid JSON: unexpected end at column {at}"]) for at in range(3)]
    rows += [(600, "rare", ["the id is missing (column sku)"])]
    html, machine = written(tmp_path, rejects=rejects(rows), counts=COUNTS | {"read": 578, "rejected": 503})
    assert machine["reasons"] == [
        {"reason": "label '…' is not one of the 3 allowed labels", "rows": 499},
        {"reason": "not valid JSON: unexpected end at column …", "rows": 3},
        {"reason": "the id is missing (column sku)", "rows": 1},
    ]
    for raw in ("raw 1<", "cut 0<", "cut 2<", "rare<"):
        assert raw in html
    assert "raw 400<" not in html


def test_long_values_are_cut_and_say_so(tmp_path):
    html, _ = written(tmp_path, rejects=rejects([(1, "x" * 5_000_000, ["too long"])]))
    assert len(html) < 50_000
    assert "(4,999,600 more characters)" in html


def test_reasons_counted_on_a_part_of_the_rejected_rows_say_so(tmp_path):
    html, machine = written(tmp_path)
    assert "Counted on the first 1 of 25 rejected rows" in text_of(html)
    assert machine["reasons_counted_on"] == 1


def test_conflicts_say_what_was_lost_what_was_kept_and_what_differs(tmp_path):
    html, machine = written(tmp_path, conflicts=conflicts(*[{}] * 50))
    assert "50 repeated rows disagree with" in text_of(html)
    assert "20 shown" in text_of(html)
    assert machine["conflicts"] == 50
    html, _ = written(tmp_path, conflicts=conflicts({}))
    text = text_of(html)
    assert "1 repeated row disagrees with" in text
    assert "Product Row that lost Its label Row that was kept Kept label What differs" in text
    assert "A shop.jsonl, line 13 Toys &gt; Games shop.jsonl, line 1,400 none label, title" in text


def test_a_rejected_row_and_unread_numbers_are_said_in_words(tmp_path):
    html, machine = written(tmp_path, columns=[ColumnProfile("price", "number", 0.25, 12, ("a", "b"), unread=1_204)])
    assert "shop.jsonl, line 7" in text_of(html)
    assert "Not a number" in text_of(html)
    assert "1,204" in text_of(html)
    assert machine["columns"][0]["unread"] == 1_204


@pytest.mark.parametrize("counts", [{"read": 0}, {"read": 5, "rejected": 5}])
def test_a_run_without_any_product_has_a_page(tmp_path, counts):
    html, _ = written(tmp_path, counts=counts, rejects=rejects([]), rules=[], suite=None, columns=[])
    Structure(html)


def test_columns_are_profiled_declared_ones_first():
    frame = pl.DataFrame(
        {
            "extra": ["x", "x"],
            "title": ["a", "\u00a0"],
            "also": [["B1", "B2"], None],
            "price": [1.5, None],
            "none": [None, None],
        }
    )
    found = profile(frame, {"title": "text", "also": "ids", "price": "number", "gone": "text"})
    assert [(one.name, one.kind, one.nulls, one.distinct) for one in found] == [
        ("title", "text", 0.5, 1),
        ("also", "ids", 0.5, 1),
        ("price", "number", 0.5, 1),
        ("extra", "not declared", 0.0, 1),
        ("none", "not declared", 1.0, 0),
    ]
    assert found[1].examples == ("B1, B2",)


def test_a_page_is_there_whole_or_not_at_all(tmp_path):
    written(tmp_path)
    before = (tmp_path / "validation.html").read_bytes()
    with pytest.raises(Exception, match="undefined"):
        page.write(tmp_path / "validation.html", "validation.html", title="half a page")
    assert (tmp_path / "validation.html").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["validation.html", "validation.json"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0, "0 %"),
        (1, "100 %"),
        (0.0312, "3.1 %"),
        (0.0004, "< 0.1 %"),
        (0.9999, "> 99.9 %"),
        (0.5, "50.0 %"),
    ],
)
def test_a_share_is_never_rounded_to_nothing_or_to_all(value, shown):
    assert page.share(value) == shown


def test_a_bar_shows_even_one_row_of_a_million_and_speaks():
    drawn = page.bar(1, 1_000_000, "bad")
    assert 'width="0.80"' in drawn
    assert 'aria-label="&lt; 0.1 %"' in drawn
    assert 'width="0.00"' in page.bar(0, 0)
    assert "&lt;b&gt;" in page.stack([("<b>", 3, "good"), ("none", 0, "bad")])


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("label 'Boots' is not one of the 3 allowed labels", "label '…' is not one of the 3 allowed labels"),
        ("not UTF-8: byte 0x92 at column 7", "not UTF-8: byte 0x92 at column …"),
        ("the shop's title is HTML: title is 'x'", "the shop's title is HTML: title is '…'"),
        ("12 cells where the header has 5", "… cells where the header has 5"),
    ],
)
def test_reasons_that_differ_in_value_or_place_are_of_one_kind(reason: str, kind: str):
    rejects = pl.DataFrame({"reasons": [[reason], [reason]]})
    assert reason_kinds(rejects) == {kind: 2}
