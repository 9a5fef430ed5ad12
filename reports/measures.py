"""What is compared between two sets of products: each field by its kind, and what the model made of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from catalogs.product import join_paths
from classifier.languages import guess_languages
from reports.page import cut
from reports.samples import OTHERS, Bags, Categories, Numbers, Sample

if TYPE_CHECKING:
    from catalogs.policies import DriftKind, DriftMethod
    from catalogs.spec import CatalogSpec, FieldSpec
    from classifier.embedding import Embedding
    from reports.distances import Method

__all__ = [
    "CONFIDENCE",
    "DECISION",
    "KNOWN",
    "LABEL",
    "OF_NO_FIELD",
    "REJECTED",
    "Knowledge",
    "Measure",
    "measures",
    "rejected_share",
]

LABEL = "label"
CONFIDENCE = "confidence"
DECISION = "decision"
TEXT = "text"
ROWS = "rows"
KNOWN = "known_path"

REJECTED = "rejected_share"
OF_NO_FIELD = frozenset(
    {
        "embedding_distance",
        "embedding_beyond",
        "label_mix",
        "confidence",
        "review_share",
        "right_share",
        "known_and_predicted",
        REJECTED,
    }
)
"""Metrics of whole products or of what the model made of them: a field of that name may stand beside them."""

# Categories beyond the most frequent ones count together: one-off values would drown what moved.
_MOST_VALUES = 100
_MOST_WORDS = 1000
_MOST_COUNTED = 100_000
# Words are counted in so many rows of each side: whole rows are shuffled some hundred times.
_MOST_TEXTS = 10_000
# Longer values are cut: a category is shown to people.
_MOST_CHARACTERS = 80
_WORD = r"[\p{L}\p{M}\p{N}_]{2,}"


@dataclass(frozen=True)
class Knowledge:
    """What a model knows of texts.

    Attributes:
        vocabulary: its words, lower case, by text field; empty: unknown words are not compared.
        embedding: where products lie; None: it is not compared.
    """

    vocabulary: Mapping[str, Collection[str]] = field(default_factory=dict)
    embedding: Embedding | None = None


@dataclass(frozen=True)
class Measure:
    """One quantity to compare.

    Attributes:
        metric: what is compared: missing_share; length, word_count, words, new_word_share, unknown_word_share,
            words_at_equal_labels, language; values, new_value_share; value; embedding_distance, embedding_beyond;
            label_mix, confidence, review_share, right_share, known_and_predicted; rejected_share.
        field: of which field; of metrics OF_NO_FIELD what they are of: `text` for all text fields together; `label`,
            `confidence` or `decision` for what the model added; `rows` for the source.
        kind: whose method and threshold apply.
        method: the distance. A kind's method that does not fit is replaced: Wasserstein needs an order, so categories
            use Jensen-Shannon; lengths, counts and confidences of a text have one, so they use Wasserstein.
        sample: both sides.
    """

    metric: str
    field: str
    kind: DriftKind
    method: Method
    sample: Sample


def measures(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    spec: CatalogSpec,
    *,
    knowledge: Knowledge,
    matched: bool,
    seed: int,
) -> tuple[list[Measure], list[str]]:
    """Everything that both frames allow to compare, and notes on what they do not.

    Rows of a sample are those of the frames, but for `matched`: words are then compared at equal labels as well.
    """
    notes: list[str] = []
    found: list[Measure] = []
    for one in spec.fields:
        if one.name not in reference.columns:
            notes.append(f"{one.name} is not compared: it is not a column of the reference")
            continue
        if one.name not in current.columns:
            notes.append(f"{one.name} is not a column of the current rows: all its values count as missing")
        try:
            sides = (_typed(reference, one), _typed(current, one))
        except pl.exceptions.PolarsError:
            notes.append(f"{one.name} is not compared: its values are of another type than {one.kind}")
            continue
        if one.kind == "text":
            comparable = matched and LABEL in reference.columns and LABEL in current.columns
            labels = (reference[LABEL], current[LABEL]) if comparable else None
            found += _of_text(one.name, *sides, spec, knowledge.vocabulary.get(one.name), labels, seed)
        else:
            found += _of_field(one, *sides, spec=spec, seed=seed)
    if knowledge.embedding is not None:
        found += _of_embedding(knowledge.embedding, reference, current)
    for name, what in ((LABEL, "The label mix"), (CONFIDENCE, "Confidence"), (DECISION, "The share of review")):
        lacking = [side for side, frame in (("reference", reference), ("current rows", current)) if name not in frame]
        if lacking:
            notes.append(f"{what} is not compared: no column '{name}' in {' and '.join(lacking)}")
        else:
            found.append(_of_prediction(name, reference[name], current[name], spec))
    if all({LABEL, KNOWN} <= set(frame.columns) for frame in (reference, current)):
        found += _of_quality(reference, current, spec)
    return found, notes


def rejected_share(before: tuple[int, int], now: tuple[int, int], spec: CatalogSpec) -> list[Measure]:
    """The share of rows that were rejected, as (read, rejected) of both sides; nothing where one read none."""
    if not before[0] or not now[0]:
        return []
    sides = []
    for read, refused in (before, now):
        # Counts are all that matter: as many rows as tell shares apart.
        rows = min(read, _MOST_COUNTED)
        bad = round(refused * rows / read)
        sides.append(pl.Series(["rejected"] * bad + ["usable"] * (rows - bad), dtype=pl.String))
    method = _of_categories(spec.drift.methods["label"])
    return [Measure(REJECTED, ROWS, "label", method, Categories(sides[0], sides[1], shown="rejected"))]


def _of_field(
    field: FieldSpec, reference: pl.Series, current: pl.Series, *, spec: CatalogSpec, seed: int
) -> Iterator[Measure]:
    kind = field.kind
    method = spec.drift.methods[kind]
    yield _missing(field.name, kind, reference, current, spec)
    if kind == "number":
        numbers = Numbers(_log(reference), _log(current), log=True, digits=2)
        yield Measure("value", field.name, kind, method, numbers)
    elif kind == "keyword":
        yield Measure("values", field.name, kind, _of_categories(method), _most_frequent(reference, current))
        every = Categories(reference.str.slice(0, _MOST_CHARACTERS), current.str.slice(0, _MOST_CHARACTERS))
        yield Measure("new_value_share", field.name, kind, "new_share", every)
    else:
        lists = _bags(_some(reference, seed), _some(current, seed + 1), _MOST_WORDS)
        yield Measure("values", field.name, kind, _of_categories(method), lists)


def _of_text(
    name: str,
    reference: pl.Series,
    current: pl.Series,
    spec: CatalogSpec,
    vocabulary: Collection[str] | None,
    labels: tuple[pl.Series, pl.Series] | None,
    seed: int,
) -> Iterator[Measure]:
    method = _of_categories(spec.drift.methods["text"])
    yield _missing(name, "text", reference, current, spec)
    lengths = Numbers(_log(reference.str.len_chars()), _log(current.str.len_chars()), log=True)
    yield Measure("length", name, "text", "wasserstein", lengths)
    counts = Numbers(_log(reference.str.count_matches(_WORD)), _log(current.str.count_matches(_WORD)), log=True)
    yield Measure("word_count", name, "text", "wasserstein", counts)
    texts = (_some(reference, seed), _some(current, seed + 1))
    languages = Categories(_languages(texts[0]), _languages(texts[1]))
    yield Measure("language", name, "text", method, languages)
    words = (_words(texts[0]), _words(texts[1]))
    distinct = (words[0].list.unique(), words[1].list.unique())
    yield Measure("words", name, "text", method, _bags(*distinct, _MOST_WORDS))
    yield Measure("new_word_share", name, "text", "new_share", _bags(*distinct, None))
    if vocabulary is not None:
        yield Measure("unknown_word_share", name, "text", method, _known_words(words, vocabulary))
    if labels is not None:
        matched = _at_equal_labels(distinct, labels, seed)
        yield Measure("words_at_equal_labels", name, "text", method, _bags(*matched, _MOST_WORDS))


def _missing(name: str, kind: DriftKind, reference: pl.Series, current: pl.Series, spec: CatalogSpec) -> Measure:
    present = Categories(_presence(reference), _presence(current), shown="missing")
    return Measure("missing_share", name, kind, _of_categories(spec.drift.methods[kind]), present)


def _of_embedding(embedding: Embedding, reference: pl.DataFrame, current: pl.DataFrame) -> Iterator[Measure]:
    """Distance of products from the centre of their cluster, and the share beyond what is usual."""
    distances = [pl.Series(embedding.place(side).distance) for side in (reference, current)]
    yield Measure("embedding_distance", TEXT, "text", "wasserstein", Numbers(distances[0], distances[1], digits=2))
    said = {True: "beyond", False: "within"}
    sides = [(side > embedding.limit).replace_strict(said, return_dtype=pl.String) for side in distances]
    yield Measure("embedding_beyond", TEXT, "text", "jensenshannon", Categories(sides[0], sides[1], shown="beyond"))


def _of_quality(reference: pl.DataFrame, current: pl.DataFrame, spec: CatalogSpec) -> Iterator[Measure]:
    """How often the model is right, and which labels it takes for which, where the right label is known."""
    method = _of_categories(spec.drift.methods["label"])
    sides = [
        frame.select(
            pl.col(LABEL).cast(pl.String).alias("predicted"), join_paths(KNOWN).cast(pl.String).alias("known")
        ).select(
            right=pl.when(pl.col("known") == pl.col("predicted")).then(pl.lit("right")).when(
                pl.col("known").is_not_null() & pl.col("predicted").is_not_null()
            ).then(pl.lit("wrong")),
            pair=pl.when(pl.col("known") == pl.col("predicted"))
            .then(pl.col("known") + " recognised")
            .otherwise(pl.col("known") + " taken for " + pl.col("predicted")),
        )
        for frame in (reference, current)
    ]  # fmt: skip
    if not all(side["right"].count() for side in sides):
        return
    right = Categories(sides[0]["right"], sides[1]["right"], shown="right")
    yield Measure("right_share", LABEL, "label", method, right)
    pairs = _most_frequent(sides[0]["pair"], sides[1]["pair"])
    yield Measure("known_and_predicted", LABEL, "label", method, pairs)


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
    """The values of so many rows as are counted; null in the others, so that rows keep their places."""
    given = values.is_not_null().arg_true()
    if len(given) <= _MOST_TEXTS:
        return values
    kept = given.sample(_MOST_TEXTS, seed=seed)
    return (
        values.to_frame("value").select(pl.when(pl.int_range(pl.len()).is_in(kept.implode())).then("value")).to_series()
    )


def _languages(texts: pl.Series) -> pl.Series:
    """The language of each text that has one to guess; null without a text."""
    guessed = guess_languages(texts)
    return pl.DataFrame({"text": texts, "language": guessed}).select(
        pl.when(pl.col("text").is_not_null()).then("language")
    ).to_series()  # fmt: skip


def _at_equal_labels(
    lists: tuple[pl.Series, pl.Series], labels: tuple[pl.Series, pl.Series], seed: int
) -> tuple[pl.Series, pl.Series]:
    """As many rows of each label on either side, so that a shift of the label mix alone moves nothing."""
    sides = [
        pl.DataFrame({"words": own, "label": said.cast(pl.String)}).filter(
            pl.col("words").list.len() > 0, pl.col("label").is_not_null()
        )
        for own, said in zip(lists, labels, strict=True)
    ]
    most = sides[0].group_by("label").len("first").join(sides[1].group_by("label").len("second"), on="label")
    most = most.select("label", pl.min_horizontal("first", "second").alias("most"))
    chosen = []
    for number, side in enumerate(sides):
        shuffled = side.sample(fraction=1.0, shuffle=True, seed=seed + number).join(most, on="label")
        chosen.append(shuffled.filter(pl.int_range(pl.len()).over("label") < pl.col("most"))["words"])
    return chosen[0], chosen[1]


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


def _bags(reference: pl.Series, current: pl.Series, most: int | None) -> Bags:
    """Lists as rows x the most frequent entries of the pool (all of them when None), and one column for all others."""
    import scipy.sparse as sp

    sides = [side.rename("value") for side in (reference, current)]
    entries = pl.concat(sides).to_frame().with_row_index("row").explode("value").drop_nulls("value")
    kept = _top(entries["value"], entries.height if most is None else most)
    places = pl.DataFrame({"value": kept, "place": np.arange(len(kept), dtype=np.int64)})
    placed = entries.join(places, on="value", how="left").select("row", pl.col("place").fill_null(len(kept)))
    ones = np.ones(placed.height, dtype=np.float32)
    shape = (len(reference) + len(current), len(kept) + 1)
    bags = sp.csr_array((ones, (placed["row"].to_numpy(), placed["place"].to_numpy())), shape=shape)
    return Bags(bags, len(reference), [*(cut(name, _MOST_CHARACTERS) for name in kept), OTHERS])


def _known_words(sides: Iterable[pl.Series], vocabulary: Collection[str]) -> Bags:
    """Known and unknown words of each text."""
    import scipy.sparse as sp

    known = pl.Series(list(vocabulary), dtype=pl.String).implode()
    counts = []
    for side in sides:
        entries = side.to_frame("word").with_row_index("row").explode("word").drop_nulls("word")
        # Before rows are gathered: within each group the whole vocabulary would be looked at anew, and held.
        told = entries.with_columns(pl.col("word").is_in(known).alias("known"))
        found = told.group_by("row").agg(unknown=(~pl.col("known")).sum(), known=pl.col("known").sum())
        every = pl.DataFrame({"row": np.arange(len(side), dtype=np.uint32)}).join(
            found, on="row", how="left", maintain_order="left"
        )
        counts.append(every.select("unknown", "known").fill_null(0).to_numpy().astype(np.float32))
    bags = sp.csr_array(np.concatenate(counts))
    return Bags(bags, len(counts[0]), ["unknown words", "known words"], shown="unknown words")
