"""When predictions may be used unseen: show the policy, aim higher or lower, or send everything to review."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from aisle.commands.catalogues import require
from aisle.options import Catalog, Json
from aisle.render import as_json, count, emit, score, table

LABELS_SHOWN = 40
"""Labels that are shown, the most frequent; JSON has them all."""

Target = Annotated[
    float | None,
    typer.Option("--target", min=0.5, max=0.9999, metavar="P", help="Precision to aim at.", show_default=False),
]
ReviewAll = Annotated[
    bool | None,
    typer.Option(
        "--review-all/--by-threshold",
        help="Send everything to review, or decide by thresholds again.",
        show_default=False,
    ),
]


def policy(catalog: Catalog, target: Target = None, review_all: ReviewAll = None, as_json_: Json = False) -> None:
    """Say when predictions are accepted, or change it.

    A change acts at once on every stored prediction and on the API; nothing is trained or scored again. A target
    holds for the champion: the next model starts from [accept] in the catalogue's TOML. --review-all holds for
    whatever model answers, until --by-threshold.
    """
    require(catalog)
    if target is not None or review_all is not None:
        _change(catalog, target, review_all)
    version, rows = _current(catalog)
    decided = _decided(catalog, version)
    if as_json_:
        emit(as_json({"catalog": catalog, "model_version": version, "predictions": decided, "policy": rows}))
        return
    emit(f"{catalog} {version}: {_in_words(rows, decided)}")
    if not sum(decided.values()):
        emit(f"next: aisle score {catalog}; the stored predictions are those of another model, under its own policy")
    shown = [[row["label"], _bar(row), row["support"], score(row["precision"]), row["reason"]] for row in rows]
    emit(table(["label", "accepted from", "support", "precision", "why"], shown[:LABELS_SHOWN]))
    if len(shown) > LABELS_SHOWN:
        emit(f"… and {len(shown) - LABELS_SHOWN:,} rarer ones: --json has them all")


def _change(catalog: str, target: float | None, review_all: bool | None) -> None:
    """Set the champion's policy anew.

    Raises:
        NoChampion: there is no model to decide for.
    """
    from catalogs.registry import load
    from classifier import artifact
    from classifier.model import refit_thresholds
    from warehouse.policy import set_policy, switch
    from warehouse.registry import need_champion
    from warehouse.runs import open_run

    with open_run(catalog, "policy") as run:
        record = need_champion(run)
        if target is not None:
            in_force = run.read("policy").filter(model_version=record.version)
            is_off = bool(in_force["review_all"].any()) if review_all is None else review_all
            changed = {"precision_target": target, "review_all": is_off}
            accept = load(catalog).accept.model_copy(update=changed)
            paths = artifact.manifest(record.folder)["labels"]
            evidence = artifact.evidence(record.folder)
            set_policy(run, accept, record.version, refit_thresholds(evidence, paths, target, accept.confidence_level))
        elif review_all is not None:
            switch(run, record.version, review_all=review_all)


def _current(catalog: str) -> tuple[str, list[dict[str, Any]]]:
    """The champion's version and its policy, the most frequent labels first, upper levels before lower ones."""
    import polars as pl

    from warehouse.home import get_home
    from warehouse.policy import published_policy
    from warehouse.registry import published_champion

    version = published_champion(get_home(), catalog).version
    rows = published_policy(get_home(), catalog).filter(pl.col("model_version") == version)
    return version, rows.sort(["level", "support", "label"], descending=[False, True, False]).to_dicts()


def _decided(catalog: str, version: str) -> dict[str, int]:
    """Stored predictions of a model by decision."""
    from warehouse.home import get_home
    from warehouse.query import query
    from warehouse.statements import quoted

    own = f"catalog = {quoted(catalog)} AND model_version = {quoted(version)}"
    sql = f"SELECT decision, count(*) AS n FROM predictions WHERE {own} GROUP BY decision"
    found = {row["decision"]: row["n"] for row in query(get_home(), sql).as_dicts()}
    return {decision: found.get(decision, 0) for decision in ("accepted", "review")}


def _in_words(rows: list[dict[str, Any]], decided: dict[str, int]) -> str:
    import polars as pl

    from classifier.thresholds import reached

    stored = f"{count(decided['accepted'])} of {count(sum(decided.values()))} stored predictions are accepted"
    if any(row["review_all"] for row in rows):
        return f"everything goes to review; {stored}"
    target = rows[0]["precision_target"] if rows else None
    return f"precision {target:g} aimed at, reached by {reached(pl.DataFrame(rows))}; {stored}"


def _bar(row: dict[str, Any]) -> str:
    return "never" if row["threshold"] is None or row["review_all"] else f"{row['threshold']:.3f}"
