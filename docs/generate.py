"""Writes what comes from elsewhere: commands, settings and recipes from the code, what was found on the real sets,
answers with figures and what a night costs from benchmarks/results, and the requests of deploy/requests.http as curl
lines and for Postman.

scripts/docs runs it. The figures of docs/analysis.md are those kept in benchmarks/results/analysis.json.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from core.kinds import kind_of
from docs import analyse, costs, evidence, requests, routes

DOCS = Path(__file__).resolve().parent
WIDTH = "110"
"""Columns of the help texts in docs/cli.md."""


def main() -> int:
    """Write the generated pages; with --check only compare them. Returns 1 when one was out of date there."""
    written = requests.read()
    pages = {
        DOCS / "cli.md": cli_page(),
        DOCS / "settings.md": settings_page(),
        DOCS / "recipes.md": recipes_page(),
        DOCS / "routes.md": routes_page(),
        DOCS / "deploy.md": deploy_page(),
        DOCS / "questions.md": questions_page(),
        DOCS / "analysis.md": analyse.render(analyse.figures()),
        requests.DEPLOY / "requests.sh": requests.as_curl(written),
        requests.DEPLOY / "postman_collection.json": requests.as_postman(written),
    }
    old = [page for page, text in pages.items() if not page.exists() or page.read_text(encoding="utf-8") != text]
    for page in old:
        name = page.relative_to(DOCS.parent)
        if "--check" in sys.argv[1:]:
            print(f"{name} is out of date: run scripts/docs")
        else:
            page.write_text(pages[page], encoding="utf-8")
            print(f"wrote {name}")
    return 1 if old and "--check" in sys.argv[1:] else 0


def commands() -> Iterator[list[str]]:
    """Every command as the words that call it, groups before their members, in the order of --help."""
    from aisle.cli import app

    def below(command: Any, words: list[str]) -> Iterator[list[str]]:
        yield words
        for name, member in getattr(command, "commands", {}).items():
            yield from below(member, [*words, name])

    return below(typer.main.get_command(app), [])


def help_of(words: list[str]) -> str:
    """What `aisle WORDS --help` prints."""
    from aisle.cli import run

    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            run([*words, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines())


def cli_page() -> str:
    """docs/cli.md."""
    helped = [f"## aisle {' '.join(words)}\n\n```text\n{help_of(words)}\n```\n" for words in commands() if words]
    return "\n".join([_template("cli"), *helped])


def settings_page() -> str:
    """docs/settings.md."""
    from core.settings import Settings

    lines = ["| Variable | Value | Default | What it does |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        shown = "not set" if field.default is None else f"`{_as_written(field.default)}`"
        lines.append(f"| `AISLE_{name.upper()}` | {kind_of(field)} | {shown} | {field.description} |")
    return _template("settings").replace("<!-- table -->", "\n".join(lines))


def recipes_page() -> str:
    """docs/recipes.md: parameters, bounds and defaults from the models, meanings from their docstrings."""
    from classifier.recipes import NAMES, RecipeParams
    from classifier.space import SPACES

    lines = ["| Parameter | Value | Default | Meaning |", "|---|---|---|---|"]
    for part, group in RecipeParams.model_fields.items():
        model: Any = group.annotation
        meanings = _attributes(model)
        for name, field in model.model_fields.items():
            default = f"`{_as_written(field.default)}`"
            lines.append(f"| `{part}.{name}` | {kind_of(field)} | {default} | {meanings[name]} |")
    spaces = ["| Recipe | Tried out |", "|---|---|"]
    for name in NAMES:
        tried = [f"`{key}` {', '.join(_as_written(value) for value in values)}" for key, values in SPACES[name].items()]
        spaces.append(f"| `{name}` | {'; '.join(tried)} |")
    page = _template("recipes").replace("<!-- table -->", "\n".join(lines))
    return page.replace("<!-- spaces -->", "\n".join(spaces))


def deploy_page() -> str:
    """docs/deploy.md: what a night costs comes from what scripts/bench bulk has measured."""
    found = costs.measured()
    peak = max((one.peak_mib for one in found.values()), default=None)
    said = (
        "Its peak is not measured yet." if peak is None else f"Measured peak: {peak:,.0f} MiB (`scripts/bench bulk`)."
    )
    filled = {"costs": costs.table(found), "basis": costs.basis(found), "price": f"{costs.PRICE:g}", "peak": said}
    page = _template("deploy")
    for name, text in filled.items():
        page = page.replace(f"<!-- {name} -->", text)
    return page


def routes_page() -> str:
    """docs/routes.md: the routes of docs/openapi.json."""
    return _template("routes").replace("<!-- routes -->", routes.page().rstrip())


def questions_page() -> str:
    """docs/questions.md: answers with what was measured."""
    return analyse.filled(_template("questions"), sets=analyse.figures(), **evidence.found())


def _attributes(model: type) -> dict[str, str]:
    """Name and meaning of what a class's docstring lists under `Attributes:`."""
    listed = inspect.cleandoc(model.__doc__ or "").partition("Attributes:")[2]
    entries = re.findall(r"^    (\w+): (.+(?:\n {6,}.+)*)", listed, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _template(name: str) -> str:
    """What is written by hand of a generated page: docs/templates/<name>.md, with a line that says so."""
    marker = "<!-- Written by scripts/docs; edit docs/templates/{}.md, or the code that it describes. -->\n\n"
    return marker.format(name) + (DOCS / "templates" / f"{name}.md").read_text(encoding="utf-8")


def _as_written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.exit(main())
