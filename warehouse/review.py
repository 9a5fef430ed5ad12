"""Products for people to label: a file with the most useful ones first, which comes back with labels (see `labels`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from catalogs.label_file import LABELLED
from catalogs.product import PRODUCT_ID
from catalogs.spec import CatalogSpec
from classifier.selection import CANDIDATES_A_PLACE, most_useful
from warehouse.export import appearing, published_views
from warehouse.home import Home
from warehouse.statements import column, quoted, statement

__all__ = ["FORMATS", "Review", "export_review"]

_CANDIDATES = 20_000
"""Candidates at most, unless more places are to be filled: what they are compared by is held in memory."""
_TEXT_CHARS = 2_000
"""Of a product's text, so much says what kind of product it is."""
_CELL_CHARS = 32_000
"""Spreadsheets cut longer cells into pieces."""

_FACTS = {
    "predicted_label": "array_to_string(predictions.predicted_path, ' > ')",
    "confidence": "round(predictions.confidence, 4)",
    "accepted_from": "round(policy.threshold, 4)",
    "runner_up": "predictions.runner_up",
    "known_label": "predictions.known_label",
    "decision": "predictions.decision",
    "policy_reason": "policy.reason",
    "model_version": "predictions.model_version",
}
"""What the model said, and why it was not enough."""


@dataclass(frozen=True)
class Review:
    """What was written.

    Attributes:
        path: the file.
        rows: products in it.
        waiting: products of the catalogue that are in review, those of the file included.
    """

    path: Path
    rows: int
    waiting: int


def export_review(home: Home, spec: CatalogSpec, path: Path, most: int, seed: int, *, replace: bool = False) -> Review:
    """Write the products in review that are worth most to label, those that are worth most first.

    Args:
        home: where they lie.
        spec: their catalogue.
        path: the file to write; its name ends in one of `FORMATS`.
        most: products to write at most.
        seed: of the selection.
        replace: whether a file that is there may be replaced.

    Raises:
        UsageError: the file is there already, or its folder is not.
        NothingPublished: nothing is stored of this catalogue.
    """
    with appearing(home, path, replace=replace) as beside, published_views(home, spec.name, beside) as connection:
        chosen = _chosen(connection, spec, most, seed)
        rows = _rows(connection, spec, chosen)
        waiting = connection.execute(
            f"SELECT count(*) FROM predictions WHERE catalog = {quoted(spec.name)} AND decision = 'review'"
        ).fetchone()
        FORMATS[path.suffix.lower()](rows, beside)
    return Review(path, rows.height, int(waiting[0]) if waiting else 0)


def _chosen(connection: duckdb.DuckDBPyConnection, spec: CatalogSpec, most: int, seed: int) -> pl.Series:
    """Ids of the products to write, in order."""
    candidates = max(most, min(most * CANDIDATES_A_PLACE, _CANDIDATES))
    connection.execute(f"SET VARIABLE catalog = {quoted(spec.name)}")
    connection.execute(f"SET VARIABLE most = {candidates:d}")
    connection.execute(f"CREATE TEMP TABLE candidates AS {statement('review_candidates')}")
    texts = ", ".join(f"products.{column(name)}" for name in spec.text_fields)
    found = connection.execute(
        f"SELECT product_id, confidence, taught, left(concat_ws(' ', {texts}), {_TEXT_CHARS:d}) AS text "
        f"FROM candidates JOIN products USING (product_id) WHERE products.catalog = {quoted(spec.name)} "
        "ORDER BY taught, confidence, product_id"
    ).pl()
    places: list[NDArray[np.int64]] = []
    for taught in (False, True):  # what is known already fills up what is left
        own = np.flatnonzero(found["taught"].to_numpy() == taught)
        left = most - sum(map(len, places))
        places.append(own[most_useful(found["text"].gather(own), found["confidence"].gather(own), left, seed)])
    return found[PRODUCT_ID].gather(np.concatenate(places))


def _rows(connection: duckdb.DuckDBPyConnection, spec: CatalogSpec, chosen: pl.Series) -> pl.DataFrame:
    """The rows to write, in the order of `chosen`: what is to be filled in, what the model said, the product."""
    empty = {name: f"NULL::VARCHAR AS {name}" for name in LABELLED}
    empty |= {name: f"predictions.{name}" for name in ("catalog", PRODUCT_ID)}
    facts = [f"{sql} AS {name}" for name, sql in _FACTS.items()]
    own = [f"products.{column(name)} AS {column(_own_name(name))}" for name in (*spec.field_names, *spec.keep)]
    connection.register("chosen", pl.DataFrame({"place": np.arange(len(chosen)), PRODUCT_ID: chosen}))
    return connection.execute(
        f"SELECT {', '.join([*empty.values(), *facts, *own])} "
        f"FROM chosen "
        f"JOIN predictions ON predictions.product_id = chosen.product_id AND predictions.catalog = {quoted(spec.name)} "
        f"JOIN products ON products.product_id = chosen.product_id AND products.catalog = {quoted(spec.name)} "
        "LEFT JOIN policy ON policy.catalog = predictions.catalog "
        "AND policy.model_version = predictions.model_version AND policy.level = len(predictions.predicted_path) "
        "AND policy.label = array_to_string(predictions.predicted_path, ' > ') "
        "ORDER BY chosen.place"
    ).pl()


def _own_name(name: str) -> str:
    """The column for a product's field: one of another name where the file has that name for something else."""
    return f"product_{name}" if name.lower() in {*LABELLED, *_FACTS} else name


def _for_spreadsheets(rows: pl.DataFrame, separator: str, file: Path) -> None:
    """One line a product, which is shown as it is: sellers write text, and a spreadsheet would run it as a formula."""
    listed = rows.with_columns(pl.col(pl.List(pl.String)).list.join(", "))
    texts = [name for name, kind in listed.schema.items() if kind == pl.String and name not in {*LABELLED, *_FACTS}]
    flat = listed.with_columns(
        pl.col(texts).str.replace_all(r"[\r\n\t]+", " ").str.replace(r"^([=+\-@])", "'$1").str.head(_CELL_CHARS)
    )
    # The mark at the start is how spreadsheets know UTF-8.
    flat.write_csv(file, separator=separator, include_bom=True)


FORMATS: dict[str, Callable[[pl.DataFrame, Path], None]] = {
    ".csv": lambda rows, file: _for_spreadsheets(rows, ",", file),
    ".tsv": lambda rows, file: _for_spreadsheets(rows, "\t", file),
    ".jsonl": lambda rows, file: rows.write_ndjson(file),
    ".parquet": lambda rows, file: rows.write_parquet(file),
}
"""How a file is written, by the ending of its name."""
