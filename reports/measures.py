"""What is compared between two sets of products: each field by its kind, label mix, confidence, share of review."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from reports.page import cut
from reports.samples import OTHERS, Bags, Categories, Numbers, Sample

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec, DriftKind, DriftMethod, FieldSpec

__all__ = ["CONFIDENCE", "DECISION", "LABEL", "Measure", "measures"]

LABEL = "label"
CONFIDENCE = "confidence"
DECISION = "decision"

# Categories beyond the most frequent ones count together: one-off values would drown what moved.
_MOST_VALUES = 100
_MOST_WORDS = 1000
# Words are counted in so many rows of each side: whole rows are shuffled some hundred times.
_MOST_TEXTS = 10_000
# Longer values are cut: a category is shown to people.
_MOST_CHARACTERS = 80
_WORD = r"[\p{L}\p{M}\p{N}_]{2,}"


@dataclass(frozen=True)
class Measure:
    """One quantity to compare.

    Attributes:
        metric: what is compared: missing_share, length, word_count, words, unknown_word_share, values, value,
            label_mix, confidence or review_share.
        field: of which field; `label`, `confidence` or `decision` for what the model added.
        kind: whose method and threshold apply.
        method: the distance. A kind's method that does not fit is replaced: Wasserstein needs an order, so categories
            use Jensen-Shannon; lengths, counts and confidences of a text have one, so they use Wasserstein.
        sample: both sides.
    """

    metric: str
    field: str
    kind: DriftKind
    method: DriftMethod
    sample: Sample


def measures(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    spec: CatalogSpec,
    *,
    vocabulary: Mapping[str, Collection[str]] | None,
    seed: int,
) -> tuple[list[Measure], list[str]]:
    """Everything that both frames allow to compare, and notes on what they do not."""
    notes: list[str] = []
    found: list[Measure] = []
    for field in spec.fields:
        if field.name not in reference.columns:
            notes.append(f"{field.name} is not compared: it is not a column of the reference")
            continue
        if field.name not in current.columns:
            notes.append(f"{field.name} is not a column of the current rows: all its values count as missing")
        try:
            sides = (_typed(reference, field), _typed(current, field))
        except pl.exceptions.PolarsError:
            notes.append(f"{field.name} is not compared: its values are of another type than {field.kind}")
            continue
        words = None if vocabulary is None else vocabulary.get(field.name)
        found += _of_field(field, *sides, spec=spec, vocabulary=words, seed=seed)
    for name, what in ((LABEL, "The label mix"), (CONFIDENCE, "Confidence"), (DECISION, "The share of review")):
        lacking = [side for side, frame in (("reference", reference), ("current rows", current)) if name not in frame]
        if lacking:
            notes.append(f"{what} is not compared: no column '{name}' in {' and '.join(lacking)}")
        else:
            found.append(_of_prediction(name, reference[name], current[name], spec))
    return found, notes


def _of_field(
    field: FieldSpec,
    reference: pl.Series,
    current: pl.Series,
    *,
    spec: CatalogSpec,
    vocabulary: Collection[str] | None,
    seed: int,
) -> Iterator[Measure]:
    kind = field.kind
    method = spec.drift.methods[kind]
    present = Categories(_presence(reference), _presence(current), shown="missing")
    yield Measure("missing_share", field.name, kind, _of_categories(method), present)
    if kind == "number":
        numbers = Numbers(_log(reference), _log(current), log=True, digits=2)
        yield Measure("value", field.name, kind, method, numbers)
    elif kind == "keyword":
        yield Measure("values", field.name, kind, _of_categories(method), _most_frequent(reference, current))
    elif kind == "ids":
        lists = _bags(_some(reference, seed), _some(current, seed + 1))
        yield Measure("values", field.name, kind, _of_categories(method), lists)
    else:
        lengths = Numbers(_log(reference.str.len_chars()), _log(current.str.len_chars()), log=True)
        yield Measure("length", field.name, kind, "wasserstein", lengths)
        counts = Numbers(_log(reference.str.count_matches(_WORD)), _log(current.str.count_matches(_WORD)), log=True)
        yield Measure("word_count", field.name, kind, "wasserstein", counts)
        words = (_words(_some(reference, seed)), _words(_some(current, seed + 1)))
        used = _bags(words[0].list.unique(), words[1].list.unique())
        yield Measure("words", field.name, kind, _of_categories(method), used)
        if vocabulary is not None:
            known = _known_words(words, vocabulary)
            yield Measure("unknown_word_share", field.name, kind, _of_categories(method), known)


def _of_prediction(name: str, reference: pl.Series, current: pl.Series, spec: CatalogSpec) -> Measure:
    if name == LABEL:
        both = _most_frequent(reference.cast(pl.String), current.cast(pl.String))
        return Measure("label_mix", name, "label", _of_categories(spec.drift.methods["label"]), both)
    if name == CONFIDENCE:
        numbers = Numbers(_finite(reference.cast(pl.Float64)), _finite(current.cast(pl.Float64)), digits=2)
        return Measure("confidence", name, "confidence", spec.drift.methods["confidence"], numbers)
    decided = Categories(reference.cast(pl.String), current.cast(pl.String), shown="review")
    return Measure("review_share", name, "label", _of_categories(spec.drift.methods["label"]), decided)


def _of_categories(method: DriftMethod) -> DriftMethod:
    return "jensenshannon" if method == "wasserstein" else method


def _typed(frame: pl.DataFrame, field: FieldSpec) -> pl.Series:
    wanted: pl.DataType = pl.Float64() if field.kind == "number" else pl.String()
    if field.kind == "ids":
        wanted = pl.List(pl.String)
    if field.name not in frame.columns:
        return pl.Series(field.name, [None] * frame.height, dtype=wanted)
    values = frame[field.name].cast(wanted)
    return _finite(values) if field.kind == "number" else values


def _presence(values: pl.Series) -> pl.Series:
    present = values.is_not_null()
    if values.dtype == pl.List(pl.String):
        present = present & (values.list.len() > 0)
    return present.replace_strict({True: "present"}, default="missing", return_dtype=pl.String)


def _finite(values: pl.Series) -> pl.Series:
    return values.to_frame("value").select(pl.when(pl.col("value").is_finite()).then("value")).to_series()


def _log(values: pl.Series) -> pl.Series:
    """log(1 + x), signs kept: prices and lengths differ by factors, and the few largest must not decide alone."""
    values = values.cast(pl.Float64)
    return values.abs().log1p() * values.sign()


def _some(values: pl.Series, seed: int) -> pl.Series:
    values = values.drop_nulls()
    return values.sample(_MOST_TEXTS, seed=seed) if len(values) > _MOST_TEXTS else values


def _words(texts: pl.Series) -> pl.Series:
    return texts.str.to_lowercase().str.extract_all(_WORD)


def _most_frequent(reference: pl.Series, current: pl.Series) -> Categories:
    """Values of both sides, cut; those beyond the most frequent of the pool are one category."""
    sides = [side.str.slice(0, _MOST_CHARACTERS) for side in (reference, current)]
    kept = _top(pl.concat([side.rename("value") for side in sides]), _MOST_VALUES)
    others = pl.col("value").is_not_null() & ~pl.col("value").is_in(kept.implode())
    value = pl.when(others).then(pl.lit(OTHERS)).otherwise("value").alias("value")
    first, second = (side.to_frame("value").select(value).to_series() for side in sides)
    return Categories(first, second)


def _top(values: pl.Series, most: int) -> pl.Series:
    counts = values.drop_nulls().rename("value").value_counts(name="rows")
    return counts.sort(["rows", "value"], descending=[True, False]).head(most)["value"]


def _bags(reference: pl.Series, current: pl.Series) -> Bags:
    """Lists as rows x the most frequent entries of the pool, and one column for all others; without empty lists."""
    import scipy.sparse as sp

    sides = [side.filter(side.list.len() > 0).rename("value") for side in (reference, current)]
    lists = pl.concat(sides)
    entries = lists.to_frame().with_row_index("row").explode("value").drop_nulls("value")
    kept = _top(entries["value"], _MOST_WORDS)
    places = pl.DataFrame({"value": kept, "place": np.arange(len(kept), dtype=np.int64)})
    placed = entries.join(places, on="value", how="left").select("row", pl.col("place").fill_null(len(kept)))
    ones = np.ones(placed.height, dtype=np.float32)
    shape = (len(lists), len(kept) + 1)
    bags = sp.csr_array((ones, (placed["row"].to_numpy(), placed["place"].to_numpy())), shape=shape)
    return Bags(bags, len(sides[0]), [*(cut(name, _MOST_CHARACTERS) for name in kept), OTHERS])


def _known_words(sides: Iterable[pl.Series], vocabulary: Collection[str]) -> Bags:
    """Known and unknown words of each text that has any."""
    import scipy.sparse as sp

    known = pl.Series(list(vocabulary), dtype=pl.String).implode()
    counts = []
    for side in sides:
        entries = side.filter(side.list.len() > 0).to_frame("word").with_row_index("row").explode("word")
        unknown = ~pl.col("word").is_in(known)
        rows = entries.group_by("row", maintain_order=True).agg(unknown=unknown.sum(), known=(~unknown).sum())
        counts.append(rows.select("unknown", "known").to_numpy().astype(np.float32))
    bags = sp.csr_array(np.concatenate(counts))
    return Bags(bags, len(counts[0]), ["unknown words", "known words"], shown="unknown words")
