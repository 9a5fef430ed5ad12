"""A catalogue is a TOML file: what it may say, and how plainly a wrong one is refused."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from catalogs import product
from catalogs.registry import BUILTIN, check, load, names, path_of
from core.errors import SpecInvalid, UnknownCatalog
from core.settings import get_settings

MINIMAL = """
title = "Shoes"
[label]
column = "kind"
[[fields]]
name = "title"
kind = "text"
"""


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str, name: str = "shoes") -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def refusal(path: Path) -> str:
    with pytest.raises(SpecInvalid) as caught:
        check(path)
    assert caught.value.where == str(path)
    assert caught.value.hint
    return caught.value.message


def test_the_built_in_catalogues_are_there_and_valid(home):
    expected = {"amazon", "amazon_india", "asos", "demo", "elo7", "gpc", "myntra", "newsgroups"}
    assert set(names()) == expected
    for name in names():
        spec = load(name)
        assert spec.name == name
        assert spec.licence != "not stated", "a built-in catalogue says what is known of its licence"
        assert len(product.schema(spec)) == len(spec.fields) + len(spec.keep) + 7


def test_amazon_has_23_labels_and_never_reads_the_category(home):
    spec = load("amazon")
    assert len(spec.label.allowed) == 23
    assert "category" in spec.forbidden
    assert "category" not in spec.source_columns
    assert spec.levels == ["main_cat"]
    assert not spec.is_path


def test_paths_name_their_levels(home):
    spec = load("myntra")
    assert spec.is_path
    assert spec.levels == ["masterCategory", "subCategory", "articleType"]


def test_a_minimal_file_has_defaults_for_the_rest(write):
    spec = check(write(MINIMAL))
    assert spec.name == "shoes"
    assert spec.load == "changes"
    assert spec.accept.precision_target == 0.98
    assert spec.holdout.share == 0.2
    assert spec.recipe.name == "linear"
    assert spec.drift.methods["number"] == "wasserstein"
    assert spec.source_columns == ["kind", "title"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"idd = 'x'\n{MINIMAL}", "idd: there is no such key; did you mean id?"),
        (MINIMAL.replace('kind = "text"', 'kind = "txt"'), "fields[0].kind"),
        (MINIMAL.replace('kind = "text"', ""), "fields[0].kind: is missing"),
        (MINIMAL.replace('name = "title"', 'name = "My Title"'), "fields[0].name: lower-case letters"),
        (MINIMAL.replace('column = "kind"', ""), "label: give exactly one of column, columns, list_column"),
        (
            MINIMAL.replace('column = "kind"', 'colum = "kind"'),
            "label.colum: there is no such key",
        ),
        (f"{MINIMAL}[accept]\nprecision_target = 2", "accept.precision_target"),
        (f"{MINIMAL}[accept]\nprecison_target = 0.9", "did you mean precision_target"),
        (f"{MINIMAL}weight = 0", "fields[0].weight"),
        (f"{MINIMAL}bins = 3", "fields[0]: bins is for kind = 'number'"),
        (f"{MINIMAL}column = 'kind'", "fields[0].column: 'kind' holds the label"),
        (f"forbidden = ['title']\n{MINIMAL}", "fields[0].column: 'title' is forbidden"),
        (f"keep = ['Title']\n{MINIMAL}", "keep[0]: 'Title' is already used by fields[0].name"),
        (f"keep = ['raw']\n{MINIMAL}", "keep[0]: 'raw' is a column of every product"),
        (f"id = 'raw'\n{MINIMAL}", "a source column 'raw' cannot be read"),
        (MINIMAL.replace('kind = "text"', 'kind = "keyword"'), "fields: at least one field of kind text"),
        (f"{MINIMAL}[[expectations]]\ncolumn='titel'\nrule='not_empty'\nreason='x'", "did you mean title"),
        (
            f"{MINIMAL}[[expectations]]\ncolumn='title'\nrule='between'\nmin=1\nreason='x'",
            "between does not fit",
        ),
        (f"{MINIMAL}[[expectations]]\ncolumn='title'\nrule='matches'\nreason='x'", "rule matches needs pattern"),
        (
            f"{MINIMAL}[[expectations]]\ncolumn='title'\nrule='matches'\npattern='('\nreason='x'",
            "unterminated",
        ),
        (f"{MINIMAL}[[expectations]]\ncolumn='title'\nrule='matches'\npattern='(?=a)'\nreason='x'", "look-around"),
        (f"{MINIMAL}[[expectations]]\ncolumn='title'\nrule='not_empty'\nmin=1\nreason='x'", "not_empty takes no min"),
        (f"name = 'boots'\n{MINIMAL}", "name: 'boots' is not the file's name"),
        (MINIMAL.replace('column = "kind"', 'column = "kind"\nallowed = ["a"]\nignored = ["a"]'), "both have ['a']"),
    ],
)
def test_a_wrong_key_is_named_with_what_is_wrong(write, text, named):
    assert named in refusal(write(text))


def test_every_problem_is_listed_at_once(write):
    message = refusal(write(MINIMAL.replace("[label]", "[labl]").replace('"text"', '"txt"') + "[gate]\nmax_loss = -1"))
    for key in ("labl", "label: is missing", "fields[0].kind", "gate.max_loss"):
        assert key in message


def test_broken_toml_names_the_line(write):
    assert "line 3" in refusal(write('title = "x"\n\n[label\n'))


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "none.toml")
    (tmp_path / "odd.toml").write_bytes(b'title = "\xff"')
    assert "not UTF-8 at byte 9" in refusal(tmp_path / "odd.toml")


def test_an_unknown_name_is_answered_with_the_closest(home):
    with pytest.raises(UnknownCatalog, match="did you mean amazon"):
        load("amazn")
    with pytest.raises(UnknownCatalog):
        path_of("../builtin/amazon")


def test_your_own_file_wins_over_a_built_in_one(home, write, monkeypatch):
    own = write(MINIMAL, "asos")
    monkeypatch.setenv("AISLE_CATALOGS", str(own.parent))
    get_settings.cache_clear()
    assert load("asos").title == "Shoes"
    assert "amazon" in names()
    own.write_text(MINIMAL.replace("Shoes", "Boots"))
    assert load("asos").title == "Boots", "a changed file is read again"


def test_a_catalogues_folder_that_is_not_there_is_said_so(home, tmp_path, monkeypatch):
    monkeypatch.setenv("AISLE_CATALOGS", str(tmp_path / "nowhere"))
    get_settings.cache_clear()
    with pytest.raises(UnknownCatalog, match="AISLE_CATALOGS is not a folder"):
        names()


def test_a_path_survives_being_joined():
    path = ["Apparel", "Topwear", "Shirts"]
    assert product.split_path(product.join_path(path)) == path
    assert product.join_path(None) is None
    frame = pl.DataFrame({"known_path": [path, None]})
    assert frame.select(product.join_paths()).to_series().to_list() == ["Apparel > Topwear > Shirts", None]


def test_built_in_patterns_mean_the_same_to_both_engines(home):
    """Polars decides rows, Python's re runs in the validation suite."""
    titles = [
        '<span class="a-size-medium a-color-secondary"',
        ' Magazines" />',
        "var aPageStart = (new Date()).getTime();",
        "(function(w){ w.x = 1 })",
        ".a-box-inner{background-color:#fff}",
        '<img src="x.jpg"',
        "I <3 New York",
        "<i>Homo</i> Sapiens",
        "Variety Pack = Fun",
        "Function Generator (2 MHz)",
        "Shape Magazine {Jillian Michaels on the Cover}",
        "A Spanner & a Table",
    ]
    rules = [rule for rule in load("amazon").expectations if rule.column == "title"]
    by_polars = [pl.Series(titles).str.contains(rule.pattern).to_list() for rule in rules]
    by_python = [[re.search(rule.pattern, title) is not None for title in titles] for rule in rules]
    assert by_polars == by_python
    caught = [any(fails) for fails in zip(*by_python, strict=True)]
    assert caught == [True] * 6 + [False] * 6


def test_built_in_files_lie_where_the_package_is():
    assert all(path.suffix == ".toml" for path in BUILTIN.iterdir())


def test_a_copy_of_a_catalogue_has_what_its_own_fields_say():
    spec = load("amazon")
    before = spec.text_fields, spec.source_columns, spec.keys_asked
    copy = spec.model_copy(update={"fields": [field for field in spec.fields if field.name == "title"]})
    assert copy.text_fields == ["title"]
    assert copy.source_columns == ["asin", "main_cat", "title"]
    assert copy.keys_asked == [("id", "asin", "asin"), ("text", "title", "title")]
    assert (spec.text_fields, spec.source_columns, spec.keys_asked) == before
