"""The commands that run flows: ingest, train, tune, score, monitor, run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from aisle import experiments, running, summary
from aisle.commands.catalogues import require
from aisle.options import Catalog, ExitCode, Json, MaybeSource, Prefect, Source
from aisle.render import as_json, emit

TO_BE_LOOKED_AT = 3
"""Exit code of --exit-code when drift was found or the gate refused."""


Recipe = Annotated[
    str | None,
    typer.Option("--recipe", metavar="NAME", help="A recipe other than the catalogue's own.", show_default=False),
]


def ingest(catalog: Catalog, source: Source, as_json_: Json = False, prefect: Prefect = False) -> None:
    """Store what is new or different in a source.

    Every row is counted: stored, unchanged, repeated or rejected. Rejected ones are kept with their reasons.
    """
    require(catalog)
    running.prepare()
    from flows.ingest import ingest as flow

    result = running.run(flow, catalog, source, what=f"ingest {catalog}", with_prefect=prefect)
    _print(result, summary.ingested, as_json_)


def train(
    catalog: Catalog,
    recipe: Recipe = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the recipe; may be given again."),
    ] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Make it champion whatever the gate says.")] = False,
    exit_code: ExitCode = False,
    as_json_: Json = False,
    prefect: Prefect = False,
) -> None:
    """Train a model, evaluate it, and let the gate decide.

    It learns from the labelled products outside the hold-out. The first model of a catalogue becomes champion;
    a later one must not be worse on the same hold-out.
    """
    overrides = _pairs(set_ or [])
    require(catalog)
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
    )
    _print(result, summary.trained, as_json_)
    if exit_code and not result.promoted:
        raise typer.Exit(TO_BE_LOOKED_AT)


def tune(
    catalog: Catalog,
    recipe: Recipe = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A parameter held to one value; may be given again."),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", metavar="N", min=1, help="Try a seeded choice of so many.", show_default=False),
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

    Cross-validates every combination of the recipe's declared space on the training rows; the hold-out is not
    touched. Trains no model and changes no champion; every trial is kept in the view trials.
    """
    overrides = _pairs(set_ or [])
    require(catalog)
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
    as_json_: Json = False,
    prefect: Prefect = False,
) -> None:
    """Label every product that is new or has changed.

    A source is ingested first, when one is given. Products that the model has answered for before are left alone.
    """
    require(catalog)
    running.prepare()
    from flows.score import score as flow

    ingested = None
    if source:
        _refuse_without_model(catalog, model)  # before anything is stored
        from flows.ingest import ingest as ingest_flow

        ingested = running.run(ingest_flow, catalog, source, what=f"ingest {catalog}", with_prefect=prefect)
    result = running.run(flow, catalog, what=f"score {catalog}", with_prefect=prefect, model=model)
    if as_json_:
        both = result.as_dict()
        emit(as_json(both if ingested is None else both | {"ingest": ingested.as_dict()}))
        return
    if ingested is not None:
        emit(summary.ingested(ingested))
    emit(summary.scored(result))


def monitor(catalog: Catalog, exit_code: ExitCode = False, as_json_: Json = False, prefect: Prefect = False) -> None:
    """Look for drift since the champion was trained.

    Compares current products with the hold-out that the champion was evaluated on.
    """
    require(catalog)
    running.prepare()
    from flows.monitor import monitor as flow

    result = running.run(flow, catalog, what=f"monitor {catalog}", with_prefect=prefect)
    _print(result, summary.watched, as_json_)
    if exit_code and result.drifted:
        raise typer.Exit(TO_BE_LOOKED_AT)


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
    if exit_code and result.drift.get("drifted"):
        raise typer.Exit(TO_BE_LOOKED_AT)


def _print(result: Any, in_words: Any, as_json_: bool) -> None:
    emit(as_json(result.as_dict()) if as_json_ else in_words(result))


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
