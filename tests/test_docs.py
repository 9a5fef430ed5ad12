"""What can be used is documented, and what is documented works."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from aisle.cli import app, run
from catalogs import registry, spec
from core import errors
from core.settings import get_settings
from docs import analyse, evidence, generate
from tests import stored
from warehouse.home import get_home
from warehouse.publish import VIEWS, publish
from warehouse.query import query

PROJECT = Path(__file__).resolve().parent.parent
PAGES = sorted([PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")])

SECTIONS: dict[str, type[BaseModel]] = {
    "The catalogue": spec.CatalogSpec,
    "label": spec.LabelSpec,
    "fields": spec.FieldSpec,
    "source": spec.SourceSpec,
    "expectations": spec.RuleSpec,
    "accept": spec.AcceptSpec,
    "gate": spec.GateSpec,
    "holdout": spec.HoldoutSpec,
    "recipe": spec.RecipeSpec,
    "drift": spec.DriftSpec,
    "freshness": spec.FreshnessSpec,
}


def page(name: str) -> str:
    return (PROJECT / "docs" / name).read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """Text below each `## heading`."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def cells(text: str) -> list[list[str]]:
    """Rows of the Markdown tables in a text, without headers."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    stripped = [[cell.strip() for cell in row] for row in rows]
    rules = [i for i, row in enumerate(stripped) if set("".join(row)) <= {"-"}]
    return [row for i, row in enumerate(stripped) if i not in rules and i + 1 not in rules]


def blocks(kind: str) -> list[Any]:
    """Fenced blocks of one kind in all pages, each named by its page."""
    found = []
    for path in PAGES:
        texts = re.findall(rf"^```{kind}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        found += [pytest.param(text, id=f"{path.name}-{i}") for i, text in enumerate(texts)]
    return found


def command_lines() -> list[Any]:
    """Every `aisle …` line in help texts and in the pages' shell examples."""
    helped = [line for words in generate.commands() for line in generate.help_of(words).splitlines()]
    shown = [line for block in blocks("console") for line in block.values[0].splitlines()]
    lines = {line.strip() for line in helped + shown if re.match(r"\s*aisle [a-z]", line)}
    return sorted(lines)


def parse(line: str) -> None:
    """Parse a command line as aisle would, without running it."""
    words = shlex.split(re.split(r" [<|] | +# ", line)[0])[1:]
    command: Any = typer.main.get_command(app)
    while getattr(command, "commands", None) and words:
        if words[0] not in command.commands:  # aisle report CATALOG
            words.insert(0, next(iter(command.commands)))
        command = command.commands[words.pop(0)]
    command.make_context("aisle", words)


@pytest.mark.parametrize("name", ["cli", "settings", "recipes", "questions", "routes"])
def test_generated_pages_are_up_to_date(name: str):
    assert page(f"{name}.md") == getattr(generate, f"{name}_page")(), "run scripts/docs"


def test_questions_are_answered_with_no_figure_that_was_not_measured(tmp_path: Path):
    nothing = evidence.found(tmp_path)
    assert {name for name, value in nothing.items() if value is not None} == set()
    text = analyse.filled((PROJECT / "docs/templates/questions.md").read_text(), sets=analyse.figures(), **nothing)
    assert text.count("not measured yet") + text.count("not been run yet") + text.count("not kept yet") == 3


def test_goals_that_were_missed_are_named_where_questions_are_answered(tmp_path: Path):
    rows = [
        {"way": "one worker", "requests": 900.0, "products": 900.0, "p50_ms": 1.0, "p99_ms": 2.0},
        {"way": "started", "resident_mib": 2},
    ]
    goals = [{"goal": "fast", "reached": "9", "met": False}, {"goal": "small", "reached": "1", "met": True}]
    (tmp_path / "api.json").write_text(json.dumps({"rows": rows, "goals": goals}))
    found = evidence.found(tmp_path)
    assert found["api"] == rows[:1]
    assert "missed" in found["api_goals"]
    assert "fast (reached: 9)" in found["api_goals"]
    assert "small" not in found["api_goals"]


@pytest.mark.parametrize("words", list(generate.commands()), ids=" ".join)
def test_every_command_says_what_it_does_takes_json_and_shows_an_example(words: list[str]):
    text = generate.help_of(words)
    example = "Start with:" if not words else f"aisle {' '.join(words)}"
    assert example in text.partition("\n\nOptions:")[2]
    assert "[OPTIONS]" in text
    about = text.split("\n\n")[1]
    assert len(about) > 20
    if "COMMAND [ARGS]" not in text:
        assert "--json" in text


@pytest.mark.parametrize("line", command_lines())
def test_every_command_line_shown_is_one_that_aisle_takes(line: str):
    parse(line)


def test_a_command_line_that_aisle_does_not_take_is_noticed():
    with pytest.raises(typer.TyperException):
        parse("aisle run newsgroups --no-such-option")


def test_every_view_is_described_with_its_columns_and_types(home: Path):
    publish(get_home())
    described = sections(page("warehouse.md"))
    assert set(described) == set(VIEWS)
    for view in VIEWS:
        columns = [list(row) for row in query(get_home(), f"DESCRIBE {view}").rows]
        documented = [[name.strip("`"), kind] for name, kind, _ in cells(described[view])]
        assert documented == [row[:2] for row in columns], view


@pytest.mark.parametrize("sql", blocks("sql"))
def test_sql_in_the_pages_runs(home: Path, monkeypatch: pytest.MonkeyPatch, sql: str):
    monkeypatch.setenv("AISLE_CATALOGS", str(stored.SHELVES))
    get_settings.cache_clear()
    stored.night([("1", "a long title", "Books"), ("2", "short", "Toys")], bad=1)
    for statement in sql.split(";"):
        if statement.strip():
            query(get_home(), statement)


def test_every_error_is_described():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert [row[0].strip("`") for row in cells(page("errors.md"))] == [kind.__name__ for kind in kinds]
    assert all(meaning and advice for _, meaning, advice in cells(page("errors.md")))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_a_catalogue_is_described_with_its_default(section: str):
    rows = cells(sections(page("catalogues.md"))[section])
    documented = {key: row for row in rows for key in re.findall(r"`(\w+)`", row[0])}
    fields = SECTIONS[section].model_fields
    described = [key for key, row in documented.items() if len(row) == 4]
    assert sorted(described) == sorted(fields)
    for key, field in fields.items():
        default = field.default
        if key == "name" and section == "The catalogue":
            continue  # taken from the file's name
        if default is PydanticUndefined and field.default_factory is None:
            assert "needed" in documented[key][2], key
        elif isinstance(default, str | int | float) and not isinstance(default, bool) and default != "":
            assert f"{default:g}" if isinstance(default, float) else str(default) in documented[key][2], key


def test_every_builtin_catalogue_is_named():
    text = page("catalogues.md")
    assert [path.stem for path in registry.BUILTIN.glob("*.toml") if f"`{path.stem}`" not in text] == []


@pytest.mark.parametrize("toml", blocks("toml"))
def test_catalogues_in_the_pages_are_valid(tmp_path: Path, toml: str):
    file = tmp_path / "shown.toml"
    file.write_text(toml, encoding="utf-8")
    assert registry.check(file).title == tomllib.loads(toml)["title"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path):
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    for link in [link for link in links if "://" not in link]:
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{path.name}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings], link


def test_every_page_can_be_reached():
    index, readme = page("index.md"), (PROJECT / "README.md").read_text(encoding="utf-8")
    for path in (PROJECT / "docs").glob("*.md"):
        if path.name != "index.md":
            assert f"({path.name})" in index, path.name
            assert f"(docs/{path.name})" in readme, path.name


@pytest.mark.parametrize("variable", ["PREFECT_SERVER_ANALYTICS_ENABLED", "DO_NOT_TRACK", "GX_ANALYTICS_ENABLED"])
def test_usage_analytics_are_switched_off_where_the_settings_page_says(variable: str):
    places = next(row[2] for row in cells(page("settings.md")) if row[0] == f"`{variable}`")
    for place in places.split(", "):
        assert f'os.environ.setdefault("{variable}"' in (PROJECT / place).read_text(encoding="utf-8"), place


def test_the_first_run_of_the_readme_works_as_shown(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    toml = re.search(r"^```toml\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert toml
    (tmp_path / "catalogues").mkdir()
    (tmp_path / "catalogues" / "shop.toml").write_text(toml.group(1), encoding="utf-8")
    things = {"Shoes": ["boots", "sandals", "trainers"], "Lamps": ["lantern", "spotlight", "chandelier"]}
    rows = ["sku,title,price,category"]
    for i in range(400):
        label = list(things)[i % 2]
        known = label if i % 5 else ""  # nobody has filed every fifth product yet
        rows.append(
            f"SKU-{i},{['Red', 'Blue', 'Green'][i % 3]} {things[label][i % 7 % 3]} number {i},{9 + i % 50}.90,{known}"
        )
    for name in ("products.csv", "labelled.csv"):
        (tmp_path / name).write_text("\n".join(rows), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AISLE_CATALOGS", str(tmp_path / "catalogues"))
    get_settings.cache_clear()

    shown = [
        line
        for block in re.findall(r"^```console\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    lines = [line for line in shown if line.startswith("aisle ") and line != "aisle serve"]
    assert len(lines) > 6
    for line in lines:
        assert run(shlex.split(line)[1:]) == 0, (line, capsys.readouterr().err)

    unfiled = query(get_home(), "SELECT count(*) FROM predictions WHERE known_label IS NULL").rows
    assert unfiled == [(80,)]


@pytest.mark.slow
def test_the_tutorial_works_as_shown(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    tutorial = page("tutorial.md")
    toml = re.search(r"^```toml\n(.*?)^```$", tutorial, re.MULTILINE | re.DOTALL)
    assert toml
    (tmp_path / "catalogues").mkdir()
    (tmp_path / "catalogues" / "shop.toml").write_text(toml.group(1), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AISLE_CATALOGS", str(tmp_path / "catalogues"))
    monkeypatch.setenv("AISLE_HOME", "./var")
    get_settings.cache_clear()

    blocks_ = re.findall(r"^```console\n(.*?)^```$", tutorial, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks_ for line in block.splitlines() if line.startswith("aisle ")]
    assert lines[-1].startswith("aisle serve ")
    for line in lines[:-1]:
        assert run(shlex.split(line)[1:]) == 0, (line, capsys.readouterr().err)
        if line.startswith("aisle review export"):
            review = pl.read_csv("review.csv", infer_schema=False)
            review.with_columns(label=pl.coalesce("known_label", "predicted_label")).write_csv("review.csv")
    last = query(get_home(), "SELECT read, stored, scored FROM runs WHERE catalog = 'shop' ORDER BY finished_at").rows
    assert last[-1] == (3_000, 0, 0), "the same file again changes nothing"
    people = query(get_home(), "SELECT count(*) FROM predictions WHERE catalog = 'shop' AND decided_by = 'person'").rows
    assert people == [(50,)]


@pytest.mark.slow
def test_the_site_is_built_without_warnings_and_a_broken_link_would_be_one(tmp_path: Path):
    project = tmp_path / "project"
    skipped = shutil.ignore_patterns("__pycache__", "node_modules")
    project.mkdir()
    for name in ("docs", "benchmarks/results", "notebooks", "scripts", "requirements"):
        shutil.copytree(PROJECT / name, project / name, ignore=skipped)
    for name in ("README.md", "mkdocs.yml", "pyproject.toml"):
        shutil.copy(PROJECT / name, project)
    (project / "scripts" / "install").write_text("#!/bin/sh\n")  # this environment is what it would make
    (project / ".venv").symlink_to(sys.prefix)

    built = subprocess.run([project / "scripts" / "site"], capture_output=True, text=True, check=False)
    assert (built.returncode, built.stderr) == (0, "")
    start = (project / "dist" / "site" / "index.html").read_text()
    assert "Every row of a file" in start
    assert not re.search(r"""<(?:script|link|img)[^>]+(?:src|href)=["']?(?:https?:)?//(?!127)""", start)
    for path in [*(project / "docs").glob("*.md"), *(project / "benchmarks" / "results").glob("*.md")]:
        name = path.relative_to(project).with_suffix(".html")
        made = (project / "dist" / "site" / name).exists()
        assert made or path.name == "index.md", name

    (project / "docs" / "errors.md").write_text("# Errors\n\n[gone](nowhere.md)\n")
    broken = subprocess.run([project / "scripts" / "site"], capture_output=True, text=True, check=False)
    assert broken.returncode != 0
    assert "nowhere.md" in broken.stderr


def test_every_page_is_in_the_navigation_of_the_site():
    listed = json.dumps(yaml.safe_load(re.sub(r"!!python/\S+", "", (PROJECT / "mkdocs.yml").read_text()))["nav"])
    for path in [*(PROJECT / "docs").glob("*.md"), *(PROJECT / "benchmarks" / "results").glob("*.md")]:
        assert str(path.relative_to(PROJECT)) in listed, f"{path.name} is not in mkdocs.yml"


def test_lists_and_tables_begin_after_an_empty_line():
    """The site's Markdown takes them for the paragraph before them, where other readers do not."""
    for path in PAGES:
        outside = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        stuck = re.findall(r"^(?!\s|- |\d+\. |\|)(.+)\n(?:- |\d+\. |\|)", outside, re.MULTILINE)
        assert stuck == [], path.name
