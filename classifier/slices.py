"""Where a model is weak: its accuracy on parts of the hold-out that are chosen by what the products are like."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from catalogs.product import KNOWN_PATH, join_paths
from classifier.bootstrap import wilson
from classifier.languages import UNTOLD, guess_languages

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec, FieldSpec

__all__ = ["LEAST_ROWS", "SLICES", "Slices", "slices"]

LEAST_ROWS = 30
"""A slice with fewer products is shown, and never called weak."""

ERROR_RATE = 0.05
"""Largest chance that any slice is called weak by luck alone: Bonferroni over all that are looked at."""

BANDS = 4
# Texts whose language is guessed, the first of the hold-out: a few seconds.
_MOST_GUESSED = 50_000

SLICES = {
    "by": pl.String,
    "slice": pl.String,
    "rows": pl.Int64,
    "accuracy": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "expected": pl.Float64,
    "weak": pl.Boolean,
}
"""Columns of the slices: what they are cut by, which it is, products, share that was right with its 95 % interval, what
the slice's mix of labels alone would give, and whether it is weak (null: too few products to say)."""


@dataclass(frozen=True)
class Slices:
    """Accuracy by slice.

    Attributes:
        table: columns SLICES.
        overall: accuracy of all products.
        looked_at: slices with enough products to be called weak.
        notes: what was not cut, and why.
    """

    table: pl.DataFrame
    overall: float
    looked_at: int
    notes: list[str]

    @property
    def weak(self) -> list[dict[str, Any]]:
        """The weak slices, the weakest first."""
        return self.table.filter("weak").sort("accuracy", "by", "slice").to_dicts()


def slices(answered: pl.DataFrame, train: pl.DataFrame, spec: CatalogSpec) -> Slices | None:
    """Cut the hold-out by missing fields, length, unseen values, language and number bands.

    A slice is weak when the interval of its accuracy, widened for the number of slices looked at, lies wholly below the
    accuracy of all products.

    Args:
        answered: hold-out products with `known_path` and the model's `label_path`.
        train: the products that the model was trained on.
        spec: the catalogue.

    Returns:
        None when there are no products.
    """
    known = answered.filter(pl.col(KNOWN_PATH).is_not_null())
    if known.is_empty():
        return None
    right = (known[KNOWN_PATH] == known["label_path"]).fill_null(value=False)
    label = join_paths()
    # What the slice would have if each product were as likely to be right as others of its label.
    base = known.select(label.alias("label"), right.alias("right")).with_columns(
        pl.col("right").mean().over("label").alias("expected")
    )
    found, notes = [], []
    for by, cut in _cuts(known, train, spec):
        if isinstance(cut, str):
            notes.append(cut)
        else:
            found += _counted(by, cut, base)
    enough = sum(row["rows"] >= LEAST_ROWS for row in found)
    overall = float(right.mean() or 0.0)  # type: ignore[arg-type]  # of booleans it is a number
    for row in found:
        row["weak"] = _is_weak(row, overall, enough) if row["rows"] >= LEAST_ROWS else None
    return Slices(pl.DataFrame(found, schema=SLICES), overall, enough, notes)


def _counted(by: str, cut: pl.Series, base: pl.DataFrame) -> list[dict[str, Any]]:
    grouped = (
        base.with_columns(cut.alias("slice"))
        .drop_nulls("slice")
        .group_by("slice", maintain_order=True)
        .agg(pl.len().alias("rows"), pl.col("right").mean().alias("accuracy"), pl.col("expected").mean())
        .sort("slice")
    )
    rows = []
    for row in grouped.iter_rows(named=True):
        ends = wilson(row["accuracy"], row["rows"]) or (None, None)
        # Bands come as "1|up to 20": the number keeps them in order.
        name = row["slice"].partition("|")[2] or row["slice"]
        rows.append({**row, "by": by, "slice": name, "low": ends[0], "high": ends[1]})
    return rows


def _is_weak(row: dict[str, Any], overall: float, looked_at: int) -> bool:
    from scipy.stats import norm

    ends = wilson(row["accuracy"], row["rows"], float(norm.ppf(1 - ERROR_RATE / 2 / looked_at)))
    return ends is not None and ends[1] < overall


def _cuts(known: pl.DataFrame, train: pl.DataFrame, spec: CatalogSpec) -> Iterator[tuple[str, pl.Series | str]]:
    """What to cut by, and each product's slice (null: in none) or why there is none."""
    complete = []
    for field in spec.fields:
        is_missing = known.select(_missing(field)).to_series()
        if is_missing.any() and not is_missing.all():
            yield field.name, _either(is_missing, "missing", "given")
        else:
            complete.append(field.name)
    if complete:
        yield "", f"Missing values: none or all of the held-out products lack {', '.join(complete)}."
    texts = known.select(pl.concat_str(pl.col(spec.text_fields), separator=" ", ignore_nulls=True)).to_series()
    if spec.text_fields:
        by = "length of the text"
        yield by, _bands(by, texts.str.len_chars().cast(pl.Float64), "characters")
        yield "language (guessed)", _languages(texts)
    for field in spec.fields:
        if field.kind in {"keyword", "ids"}:
            yield field.name, _unseen(known, train, field)
        elif field.kind == "number":
            yield field.name, _bands(field.name, known[field.name])


def _missing(field: FieldSpec) -> pl.Expr:
    column = pl.col(field.name)
    if field.kind == "ids":
        return column.is_null() | (column.list.len() == 0)
    return column.is_null() if field.kind == "number" else column.is_null() | (column == "")


def _either(condition: pl.Series, yes: str, no: str) -> pl.Series:
    return pl.select(pl.when(condition).then(pl.lit(yes)).otherwise(pl.lit(no))).to_series()


def _unseen(known: pl.DataFrame, train: pl.DataFrame, field: FieldSpec) -> pl.Series | str:
    """Whether a product's value occurs in the training products."""
    if field.kind == "ids":
        every = pl.select(pl.int_range(known.height).alias("row"))
        values = every.with_columns(known[field.name]).explode(field.name).drop_nulls()
        known_values = values.join(train.select(pl.col(field.name).explode()).unique(), on=field.name, how="semi")
        hits = (
            values.select("row").unique().with_columns(pl.col("row").is_in(known_values["row"].implode()).alias("hit"))
        )
        column = every.join(hits, on="row", how="left", maintain_order="left")["hit"]
    else:
        folded = pl.col(field.name).str.to_lowercase()
        seen = train.select(folded).to_series().drop_nulls().unique()
        column = known.select(pl.when(pl.col(field.name) != "").then(folded.is_in(seen.implode()))).to_series()
    if column.drop_nulls().n_unique() < 2:
        if column.null_count() == len(column):
            return f"Values of {field.name}: no held-out product has one."
        how = "none" if column.any() is False else "every value"
        return f"Values of {field.name}: {how} of the held-out products was seen in training."
    yes, no = (
        ("some seen in training", "none seen in training")
        if field.kind == "ids"
        else ("seen in training", "unseen in training")
    )
    return pl.select(pl.when(column).then(pl.lit(yes)).when(~column).then(pl.lit(no))).to_series()


def _languages(texts: pl.Series) -> pl.Series | str:
    """The guessed language of each text, or why that says nothing."""
    languages = guess_languages(texts.head(_MOST_GUESSED))
    told = languages.filter(languages != UNTOLD)
    counts = told.value_counts(sort=True)["count"].to_list()
    if not counts:
        return "Language: the texts are too short to guess it."
    if len(counts) < 2 or counts[1] < LEAST_ROWS:
        share = len(told) / len(languages)
        return (
            f"Language: guessed for {share:.0%} of the texts, nearly all of them {told.mode().sort()[0]}; "
            "there is nothing to compare."
        )
    return languages.extend_constant(None, len(texts) - len(languages))


def _bands(by: str, values: pl.Series, unit: str = "") -> pl.Series | str:
    """Quarters of the products by value; fewer where many share one value."""
    edges = _edges(values.drop_nulls())
    if not edges:
        return f"Bands of {by}: the held-out products differ too little, or are too few, to be cut into bands."
    unit = f" {unit}" if unit else ""
    names = [f"up to {edges[0]:,.6g}{unit}"]
    names += [f"above {low:,.6g}, up to {high:,.6g}{unit}" for low, high in itertools.pairwise(edges)]
    names.append(f"above {edges[-1]:,.6g}{unit}")
    band = pl.sum_horizontal([(values > edge).cast(pl.Int64) for edge in edges])
    return pl.select(pl.when(values.is_not_null()).then(band.replace_strict(
        dict(enumerate(f"{number}|{name}" for number, name in enumerate(names))), default=None, return_dtype=pl.String
    ))).to_series()  # fmt: skip


def _edges(values: pl.Series) -> list[float]:
    """Upper ends of all bands but the last; none that would leave a band of a few products on either side."""
    least = max(1, min(LEAST_ROWS, len(values) // (2 * BANDS)))
    edges: list[float] = []
    for step in range(1, BANDS):
        edge = values.quantile(step / BANDS, "nearest")
        if edge is None:
            break
        inside = (values <= edge) if not edges else (values > edges[-1]) & (values <= edge)
        if inside.sum() >= least and (values > edge).sum() >= least:
            edges.append(edge)
    return edges
