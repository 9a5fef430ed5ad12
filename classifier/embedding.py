"""Where products lie by their words: LSA vectors, clustered, and how far each product is from its cluster's centre.

TF-IDF of the text fields, TruncatedSVD (latent semantic analysis), unit length, MiniBatchKMeans. A product of a kind
that was never seen lies far from every centre, whatever its single words are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from classifier.text_vectoriser import TextVectoriser

__all__ = ["BEYOND", "Embedding", "Placed", "fit_embedding"]

BEYOND = 0.99
"""Share of training products that lie nearer to their centre than what counts as beyond."""

FITTED_ROWS = 20_000
"""Training products, sampled, that the vectors are fitted on; their limits come from as many others at most."""

_DIMENSIONS = 64
_MOST_CLUSTERS = 32
# A cluster stands for so many fitted products on average, at least.
_ROWS_A_CLUSTER = 100
# A cluster with fewer products that limits are taken from has the limit of all.
_LEAST_ROWS = 100
_MOST_WORDS = 20_000
_NAMED_WORDS = 6
_PARTS = ("words", "features", "clusters")


@dataclass(frozen=True)
class Placed:
    """Where products lie.

    Attributes:
        vectors: unit length, float32, (products, dimensions); zero where no word of a product is known.
        cluster: of the nearest centre, (products,).
        distance: cosine distance to it, 0 to 2, (products,); 1 where no word is known.
    """

    vectors: NDArray[np.float32]
    cluster: NDArray[np.int64]
    distance: NDArray[np.float64]


@dataclass(frozen=True)
class Embedding:
    """Fitted on a catalogue's training products.

    Attributes:
        fields: text fields that are read, joined by a space.
        vectoriser: text → TF-IDF.
        components: float32, (words, dimensions).
        centres: float32, unit length, (clusters, dimensions).
        clusters: one row a cluster: cluster, words (the strongest), share of the training products, limit (distance
            that `BEYOND` of its training products lie within; of all training products where it has few).
        limit: the same over all training products.
        texts_seen: training products that it was fitted on.
    """

    fields: list[str]
    vectoriser: TextVectoriser
    components: NDArray[np.float32]
    centres: NDArray[np.float32]
    clusters: pl.DataFrame
    limit: float
    texts_seen: int

    def place(self, frame: pl.DataFrame) -> Placed:
        """Where the products of `frame` lie; a text field that is not a column counts as empty."""
        vectors = _unit(self.vectoriser.transform(_texts(frame, self.fields)) @ self.components)
        return _placed(vectors, self.centres)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write tables and arrays into `folder`; returns what belongs in the model's manifest."""
        folder.mkdir(parents=True)
        for name, table in {**self.vectoriser.tables(), "clusters": self.clusters}.items():
            table.write_parquet(folder / f"{name}.parquet")
        np.save(folder / "components.npy", self.components)
        np.save(folder / "centres.npy", self.centres)
        return {"fields": self.fields, "limit": self.limit, "texts_seen": self.texts_seen}

    @classmethod
    def load(cls, folder: Path, about: dict[str, Any]) -> Embedding:
        """Read back what `save` wrote."""
        tables = {name: pl.read_parquet(folder / f"{name}.parquet") for name in _PARTS}
        clusters = tables.pop("clusters")
        return cls(
            fields=about["fields"],
            vectoriser=_vectoriser(1).restore(tables, about["texts_seen"]),
            components=np.load(folder / "components.npy"),
            centres=np.load(folder / "centres.npy"),
            clusters=clusters,
            limit=about["limit"],
            texts_seen=about["texts_seen"],
        )


def fit_embedding(frame: pl.DataFrame, fields: list[str], seed: int) -> Embedding | None:
    """Fit on a seeded sample of training products; None where their texts share no words.

    The limits come from training products that the vectors were not fitted on: those that were lie nearer to their
    centres than any new product would.

    Args:
        frame: training products.
        fields: their text fields.
        seed: of the sample, the decomposition and the clusters.
    """
    texts = _texts(frame.sample(min(frame.height, 2 * FITTED_ROWS), seed=seed, shuffle=True), fields)
    # Copies of a text on both sides would make the limits those of fitted products.
    texts = texts.filter(texts.str.len_chars() > 0).unique(maintain_order=True)
    fitted = texts.head(min(FITTED_ROWS, max(len(texts) * 2 // 3, 1)))
    others = texts.tail(max(len(texts) - len(fitted), 1)) if len(texts) else texts
    vectoriser = _vectoriser(2)
    try:
        counts = vectoriser.fit_transform(fitted)
    except ValueError:  # no text, or no word that two of them share
        return None
    components = _decomposed(counts, seed)
    centres = _clustered(_unit(counts @ components), seed)
    placed = _placed(_unit(vectoriser.transform(others) @ components), centres)
    clusters = _described(placed, centres, components, vectoriser)
    limit = float(np.quantile(placed.distance, BEYOND))
    return Embedding(fields, vectoriser, components, centres, clusters, limit, len(fitted))


def _vectoriser(least_texts: int) -> TextVectoriser:
    return TextVectoriser(min_df=least_texts, max_features=_MOST_WORDS, sublinear_tf=True)


def _texts(frame: pl.DataFrame, fields: list[str]) -> pl.Series:
    there = [pl.col(name).cast(pl.String) for name in fields if name in frame.columns]
    if not there:
        return pl.Series("text", [""] * frame.height, dtype=pl.String)
    return frame.select(pl.concat_str(there, separator=" ", ignore_nulls=True).alias("text")).to_series()


def _decomposed(counts: Any, seed: int) -> NDArray[np.float32]:
    """Right singular vectors, (words, dimensions)."""
    from sklearn.decomposition import TruncatedSVD

    # A matrix of one row or column has no smaller one: its words are their own dimensions.
    dimensions = min(_DIMENSIONS, min(counts.shape) - 1)
    if dimensions < 1:
        return np.eye(counts.shape[1], dtype=np.float32)
    svd = TruncatedSVD(n_components=dimensions, random_state=seed)
    svd.fit(counts)
    return np.ascontiguousarray(svd.components_.T, dtype=np.float32)


def _clustered(vectors: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    from sklearn.cluster import MiniBatchKMeans

    wanted = min(_MOST_CLUSTERS, max(1, len(vectors) // _ROWS_A_CLUSTER))
    means = MiniBatchKMeans(n_clusters=wanted, random_state=seed, n_init=3, batch_size=2048).fit(vectors)
    return _unit(means.cluster_centers_)


def _placed(vectors: NDArray[np.float32], centres: NDArray[np.float32]) -> Placed:
    similar = vectors @ centres.T
    cluster = similar.argmax(axis=1).astype(np.int64)
    return Placed(vectors, cluster, 1 - np.take_along_axis(similar, cluster[:, None], 1)[:, 0].astype(np.float64))


def _described(
    placed: Placed, centres: NDArray[np.float32], components: NDArray[np.float32], vectoriser: TextVectoriser
) -> pl.DataFrame:
    names = vectoriser.names
    overall = float(np.quantile(placed.distance, BEYOND))
    rows = []
    for number, centre in enumerate(centres):
        own = placed.distance[placed.cluster == number]
        strongest = np.argsort(-(components @ centre), kind="stable")[:_NAMED_WORDS]
        limit = float(np.quantile(own, BEYOND)) if len(own) >= _LEAST_ROWS else overall
        rows.append((number, names.gather(strongest).to_list(), len(own) / len(placed.distance), limit))
    schema: dict[str, Any] = {
        "cluster": pl.Int64,
        "words": pl.List(pl.String),
        "share": pl.Float64,
        "limit": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.zeros(vectors.shape, dtype=np.float32)
    np.divide(vectors, lengths, out=unit, where=lengths > 0, casting="same_kind")
    return unit
