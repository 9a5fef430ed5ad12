"""The commands that run flows: ingest, train, tune, score, monitor, run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from aisle import experiments, running, summary
from aisle.commands.catalogues import require
from aisle.options import Catalog, ExitCode, Json, MaybeSource, Prefect, Source
from aisle.render import as_json, emit, note

TRIALS = 100
"""Of each kind in a self-test: a rate of 5 % is then known to within five points."""

TO_BE_LOOKED_AT = 3
"""Exit code of --exit-code when drift was found, the gate refused, or every row was rejected."""


Recipe = Annotated[
    str | None,
    typer.Option("--recipe", metavar="NAME", help="A recipe other than the catalogue's own.", show_default=False),
]


def ingest(
    catalog: Catalog,
    source: Source,
    in_order: Annotated[
        bool, typer.Option("--in-order", help="Each file as a run of its own, in order; go on where it was stopped.")
    ] = False,
    exit_code: ExitCode = False,
    as_json_: Json = False,
    prefect: Prefect = False,
) -> None:
    """Store what is new or different in a source.

    Every row is counted: stored, unchanged, repeated or rejected. Rejected ones are kept with their reasons.
    All files are one run, which happens whole or not at all; with --in-order each is one, and the first ones are passed
    over as far as runs have read them in this order.
    """
    require(catalog)
    running.prepare()
    if in_order:
        from flows.catch_up import catch_up

        caught_up = running.run(catch_up, catalog, source, what=f"ingest {catalog}", with_prefect=prefect)
        _print(caught_up, summary.caught_up, as_json_)
        _end(exit_code and any(summary.is_all_rejected(batch.rows) for batch in caught_up.batches))
        return
    from flows.ingest import ingest as flow

    result = running.run(flow, catalog, source, what=f"ingest {catalog}", with_prefect=prefect)
    _print(result, summary.ingested, as_json_)
    _end(exit_code and summary.is_all_rejected(result.rows))


def train(
    catalog: Catalog,
    recipe: Recipe = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the recipe; may be given again."),
    ] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Make it champion whatever the gate says.")] = False,
    study: Annotated[
        bool,
        typer.Option(
            "--study", help="Report learning curve, worth of fields and doubtful labels, however long it takes."
        ),
    ] = False,
    exit_code: ExitCode = False,
    as_json_: Json = False,
    prefect: Prefect = False,
) -> None:
    """Train a model, evaluate it, and let the gate decide.

    It learns from the labelled products outside the hold-out. The first model of a catalogue becomes champion;
    a later one has to be shown to be no worse, on hold-out rows that neither has seen.
    """
    overrides = _pairs(set_ or [])
    require(catalog)
    _note_passed_over(catalog, recipe)
    running.prepare()
    from flows.train import train as flow

    result = running.run(
        flow,
        catalog,
        what=f"train {catalog}",
        with_prefect=prefect,
        recipe=recipe,
        overrides=overrides or None,
        promote=promote,
        study=study,
    )
    _print(result, summary.trained, as_json_)
    _end(exit_code and not result.promoted)


def tune(
    catalog: Catalog,
    recipe: Recipe = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A parameter held to one value; may be given again."),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials", metavar="N", min=1, help="Try a seeded choice of so many combinations.", show_default=False
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds", metavar="N", min=2, max=100, help="Folds in place of the recipe's own.", show_default=False
        ),
    ] = None,
    as_json_: Json = False,
    prefect: Prefect = False,
) -> None:
    """Find the parameters that suit a catalogue best.

    Cross-validates every combination of the recipe's declared space, and the recipe as it stands, on the training rows;
    the hold-out is not touched. Trains no model and changes no champion; every trial is kept in the view trials.
    """
    overrides = _pairs(set_ or [])
    require(catalog)
    _note_passed_over(catalog, recipe)
    running.prepare()
    from flows.tune import tune as flow

    options = {"recipe": recipe, "overrides": overrides or None, "trials": trials, "folds": folds}
    result = running.run(flow, catalog, what=f"tune {catalog}", with_prefect=prefect, **options)
    if as_json_:
        emit(as_json(result.as_dict() | {"use": experiments.use(result)}))
        return
    emit(experiments.tuned(result))


def score(
    catalog: Catalog,
    source: MaybeSource = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="VERSION", help="A model version in place of the champion.", show_default=False
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="TIME", help="Only what was stored from this date or time on; UTC.", show_default=False
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="TIME", help="Only what was stored up to this date or time; UTC.", show_default=False
        ),
    ] = None,
    as_json_: Json = False,
    prefect: Prefect = False,
) -> None:
    """Label every product that is new or has changed.

    A source is ingested first, when one is given. Products that the model has answered for before are left alone.
    With --since or --until, what was stored then is scored, in every form that it had: a backfill. Its answers stand
    in predictions_history; those of the champion become current as well.
    """
    backfill = {"since": since, "until": until}
    if source and any(backfill.values()):
        raise typer.BadParameter("a backfill scores what is stored: it takes no SOURCE", param_hint="--since, --until")
    require(catalog)
    running.prepare()
    from flows.score import score as flow

    ingested = None
    if source:
        _refuse_without_model(catalog, model)  # before anything is stored
        from flows.ingest import ingest as ingest_flow

        ingested = running.run(ingest_flow, catalog, source, what=f"ingest {catalog}", with_prefect=prefect)
    result = running.run(flow, catalog, what=f"score {catalog}", with_prefect=prefect, model=model, **backfill)
    if as_json_:
        both = result.as_dict()
        emit(as_json(both if ingested is None else both | {"ingest": ingested.as_dict()}))
        return
    if ingested is not None:
        emit(summary.ingested(ingested))
    emit(summary.scored(result))


def monitor(
    catalog: Catalog,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Test the detectors themselves, on this catalogue's products; minutes.")
    ] = False,
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", min=10, help="Of each kind, in a self-test.")
    ] = TRIALS,
    exit_code: ExitCode = False,
    as_json_: Json = False,
    prefect: Prefect = False,
) -> None:
    """Look for drift, and decide whether a new model is wanted.

    Compares the current catalogue with the products of the time when the champion was trained, and what came in since
    the last look with what came before.
    """
    require(catalog)
    running.prepare()
    if self_test:
        from flows.self_test import self_test as test_flow

        tested = running.run(test_flow, catalog, what=f"self-test {catalog}", with_prefect=prefect, trials=trials)
        _print(tested, summary.tested, as_json_)
        return
    from flows.monitor import monitor as flow

    result = running.run(flow, catalog, what=f"monitor {catalog}", with_prefect=prefect)
    _print(result, summary.watched, as_json_)
    _end(exit_code and bool(result.drifted))


def run(
    catalog: Catalog, source: Source, exit_code: ExitCode = False, as_json_: Json = False, prefect: Prefect = False
) -> None:
    """Do a whole night's work with a source.

    Ingests it, trains if the catalogue has no champion yet, scores what changed, and looks for drift.
    With nothing new, products and predictions stay as they are; the run, its reports and its rejects are recorded.
    """
    require(catalog)
    running.prepare()
    from flows.nightly import nightly as flow

    result = running.run(flow, catalog, source, what=f"run {catalog}", with_prefect=prefect)
    _print(result, summary.ran, as_json_)
    _end(exit_code and (bool(result.drift.get("drifted")) or summary.is_all_rejected(result.rows)))


def _print(result: Any, in_words: Any, as_json_: bool) -> None:
    emit(as_json(result.as_dict()) if as_json_ else in_words(result))


def _end(to_be_looked_at: bool) -> None:
    if to_be_looked_at:
        raise typer.Exit(TO_BE_LOOKED_AT)


def _pairs(given: list[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as a dictionary."""
    pairs = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise typer.BadParameter(f"'{text}' is not KEY=VALUE", param_hint="--set")
        pairs[key.strip()] = value
    return pairs


def _refuse_without_model(catalog: str, model: str | None) -> None:
    """Raise NoChampion or UnknownModel when there is nothing to score with."""
    from warehouse import registry
    from warehouse.home import get_home

    home = get_home()
    wanted = model or registry.published_champion(home, catalog).version
    registry.get(home, catalog, registry.published(home, catalog), wanted)


def _note_passed_over(catalog: str, recipe: str | None) -> None:
    """Say that a recipe asked for by name has nothing of what the catalogue's `[recipe]` changes."""
    from catalogs.registry import load
    from classifier.recipes import passed_over

    spec = load(catalog)
    left = passed_over(spec, recipe)
    if left:
        said = ", ".join(f"{key}={value}" for key, value in left.items())
        note(f"note: {recipe} has its own parameters; {catalog}.toml changes those of {spec.recipe.name}: {said}")
