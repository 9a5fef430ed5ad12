"""The command `aisle`: all of its commands, and how each of them ends.

Exit codes: 0 done, 1 a named or unexpected error, 2 wrong options, 3 drift, refusal or nothing but rejects under
--exit-code, 130 interrupted, 141 the reader of stdout has left.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from aisle import failures
from aisle.commands import answers, catalogues, demo, export, models, pipeline, policy, reading, review, serving, upkeep
from aisle.options import FirstIfUnnamed, Json
from aisle.render import flush, note

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT, as shells have it."""

app = typer.Typer(
    name="aisle",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="\b\nStart with:\n  aisle demo\n  aisle COMMAND --help",
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"aisle {version('aisle')}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Put every product of a catalogue into its aisle: from a raw file to categories that people can query and trust.

    Data lies under AISLE_HOME (./var by default). Every command takes --json; errors go to stderr.
    """


def _add(group: typer.Typer, name: str, function: Callable[..., Any], *examples: str) -> None:
    """Add a command with examples at the end of its help."""
    shown = "\n".join(f"  {example}" for example in examples)
    heading = "Example" if len(examples) == 1 else "Examples"
    group.command(name, epilog=f"\b\n{heading}:\n{shown}")(function)


_add(app, "demo", demo.demo, "aisle demo", "aisle demo --rows 2000 --home shop")
_catalogs = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
app.add_typer(_catalogs, name="catalogs", epilog="\b\nExample:\n  aisle catalogs")
_add(_catalogs, "list", catalogues.list_catalogs, "aisle catalogs list --json")
_add(_catalogs, "check", catalogues.check, "aisle catalogs check catalogs/shoes.toml")
_add(
    app,
    "ingest",
    pipeline.ingest,
    "aisle ingest amazon meta.jsonl.gz",
    "aisle ingest asos 'exports/*.tsv' --json",
    "aisle ingest asos exports --in-order",
)
_add(
    app,
    "train",
    pipeline.train,
    "aisle train newsgroups",
    "aisle train newsgroups --recipe linear-fast --set model.C=3",
)
_add(
    app, "tune", pipeline.tune, "aisle tune newsgroups", "aisle tune newsgroups --set words.ngrams=2 --trials 6 --json"
)
_add(
    app,
    "score",
    pipeline.score,
    "aisle score asos",
    "aisle score asos exercise_test.tsv --model v2",
    "aisle score asos --since 2026-01-01 --until 2026-01-31 --model v2",
)
_add(app, "monitor", pipeline.monitor, "aisle monitor amazon --exit-code")
_add(app, "run", pipeline.run, "aisle run newsgroups train.jsonl.gz", "aisle run asos s3://bucket/new.tsv --json")
_add(app, "evaluate", answers.evaluate, "aisle evaluate newsgroups test.jsonl.gz --json")
_add(
    app,
    "predict",
    answers.predict,
    'aisle predict elo7 title="Lembrancinha de maternidade" price=2.50',
    "aisle predict newsgroups --json < posts.jsonl",
)
_add(app, "explain", answers.explain, "aisle explain asos 1234567")
_add(
    app,
    "sql",
    reading.sql,
    'aisle sql "SELECT label, count(*) AS products FROM predictions GROUP BY ALL"',
    'aisle sql "SELECT * FROM conservation" --json',
    'aisle sql "SELECT decision, count(*) FROM predictions GROUP BY ALL" --as-of 2026-01-31',
)
_add(
    app,
    "export",
    export.export,
    "aisle export amazon --out accepted.parquet --decision accepted",
    "aisle export asos --contract asos --out predictions_test_text.csv",
)
_models = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Say what was trained, compare models, and choose the champion.",
    epilog="\b\nExample:\n  aisle models list amazon",
)
app.add_typer(_models, name="models")
_add(_models, "list", models.list_models, "aisle models list", "aisle models list amazon --json")
_add(_models, "compare", models.compare, "aisle models compare amazon v1 v2")
_add(_models, "promote", models.promote, 'aisle models promote amazon v2 --why "better on books"')
_add(_models, "reject", models.reject, 'aisle models reject amazon v2 --why "trained on a damaged file"')
_add(_models, "rollback", models.rollback, "aisle models rollback amazon", "aisle models rollback amazon v1")
_review = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Have people label products: write the most useful ones to a file, and take it back in.",
    epilog="\b\nExample:\n  aisle review export amazon",
)
app.add_typer(_review, name="review")
_add(
    _review,
    "export",
    review.export_review,
    "aisle review export amazon --most 200",
    "aisle review export asos --out look.tsv",
)
_add(
    _review,
    "import",
    review.import_labels,
    "aisle review import review_amazon.csv",
    "aisle review import look.tsv --by anna --new-labels",
)
_add(
    app,
    "policy",
    policy.policy,
    "aisle policy amazon",
    "aisle policy amazon --target 0.95",
    "aisle policy amazon --review-all",
)
_report = typer.Typer(
    cls=FirstIfUnnamed,
    rich_markup_mode=None,
    help="Say where the reports lie (show, which need not be named), or serve Evidently's own UI.",
    epilog="\b\nExamples:\n  aisle report\n  aisle report amazon --open\n  aisle report ui",
)
app.add_typer(_report, name="report")
_add(_report, "show", reading.report, "aisle report show amazon --json")
_add(_report, "ui", serving.report_ui, "aisle report ui", "aisle report ui --port 9000")
_add(app, "publish", reading.publish, "aisle publish")
_add(app, "maintain", upkeep.maintain, "aisle maintain", "aisle maintain amazon --json")
_add(app, "serve", serving.serve, "aisle serve", "aisle serve --host 0.0.0.0 --port 80 --workers 2")


@_catalogs.callback()
def catalogs(context: typer.Context, as_json: Json = False) -> None:
    """List the catalogues, or check a TOML file of your own."""
    if context.invoked_subcommand is None:
        catalogues.list_catalogs(as_json)


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code. Whatever fails is told, and nothing is raised."""
    try:
        if not {"-h", "--help"} & set(arguments):
            _settle()
        code = app(args=list(arguments), prog_name="aisle", standalone_mode=False)
        flush()
    except SystemExit as leaving:  # uvicorn leaves like this
        code = leaving.code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever it is, people get a sentence and not a trace
        one_a_line = list(arguments[:1]) == ["predict"]
        return failures.tell(error, as_json="--json" in arguments, on_one_line=one_a_line)
    if code == INTERRUPTED:
        note("interrupted: what was not finished is undone by the next run")
    return code if isinstance(code, int) else 0


def _settle() -> None:
    """Log at the level that AISLE_LOG_LEVEL names, and keep libraries' warnings from people who can't act on them.

    Raises:
        pydantic.ValidationError: a setting is wrong; `failures` names it.
    """
    from core.settings import get_settings

    level = get_settings().log_level
    handler = logging.StreamHandler()
    handler.setLevel(level.upper())  # libraries set levels of their own loggers; here they come together
    if level != "debug":
        handler.addFilter(lambda record: not record.name.startswith("prefect"))  # it writes to the terminal by itself
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=[handler], force=True
    )
    if level != "debug" and not sys.warnoptions:
        warnings.simplefilter("ignore")
