"""Where current products lie beside the reference: shares by cluster, the most distant products, two pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from markupsafe import Markup

from reports.charts import Axis, Group, Line, line_chart, scatter_chart
from reports.page import Tone, cut, share

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec
    from classifier.embedding import Embedding, Placed

__all__ = ["Outliers", "distance_chart", "outliers", "place_chart"]

MOST_NAMED = 10
"""Most distant products that are named."""

# Points of each side in the picture: more would cover each other.
_DRAWN = 400
_STEPS = 60
_SHOWN_CHARACTERS = 160


@dataclass(frozen=True)
class Outliers:
    """Reference and current products by their distance from the centre of their cluster.

    Attributes:
        limit: distance that one in a hundred training products passes.
        beyond: share of products beyond it: reference, current.
        clusters: one row a cluster, the most moved first: cluster, words, limit (its own), reference_share,
            current_share, reference_beyond, current_beyond (of its products, beyond its own limit; null without any).
        farthest: the most distant current products: product_id, text, label, cluster, distance.
        curves: share of products at least so far: distance, reference, current.
        places: some products in two dimensions: x, y, side (reference, current), beyond.
    """

    limit: float
    beyond: tuple[float, float]
    clusters: pl.DataFrame
    farthest: pl.DataFrame
    curves: pl.DataFrame
    places: pl.DataFrame

    def as_dict(self) -> dict[str, Any]:
        """For machines: what is shown in tables."""
        return {
            "limit": self.limit,
            "beyond": dict(zip(("reference", "current"), self.beyond, strict=True)),
            "clusters": self.clusters.to_dicts(),
            "farthest": self.farthest.to_dicts(),
        }


def outliers(embedding: Embedding, reference: pl.DataFrame, current: pl.DataFrame, spec: CatalogSpec) -> Outliers:
    """Place the products of both sides; each has at least one.

    Args:
        embedding: of the model.
        reference: products with the text fields.
        current: the same; with product_id and label where they are known.
        spec: their catalogue.
    """
    sides = [embedding.place(frame) for frame in (reference, current)]
    steps = np.linspace(0, max(float(side.distance.max()) for side in sides) or 1.0, _STEPS)
    reached = [[float((side.distance >= step).mean()) for step in steps] for side in sides]
    return Outliers(
        limit=embedding.limit,
        beyond=(_beyond(sides[0], embedding.limit), _beyond(sides[1], embedding.limit)),
        clusters=_by_cluster(embedding, *sides),
        farthest=_farthest(current, sides[1], spec),
        curves=pl.DataFrame({"distance": steps, "reference": reached[0], "current": reached[1]}),
        places=_places(embedding, *sides),
    )


def distance_chart(found: Outliers) -> Markup:
    """How many products lie how far out, on both sides."""
    furthest = float(found.curves["distance"][-1])
    ticks = [(furthest * part / 4, f"{furthest * part / 4:.2f}") for part in range(5)]
    lines = [
        Line(name, list(found.curves.select("distance", name).iter_rows()), marked=False)
        for name in ("reference", "current")
    ]
    y = Axis("products at least so far", 0.0, 1.0, [(part / 4, share(part / 4, 0)) for part in range(5)])
    spoken = f"beyond {found.limit:.2f}: {share(found.beyond[0])} of the reference, {share(found.beyond[1])} now"
    return line_chart(lines, Axis("distance from the cluster's centre", 0.0, furthest, ticks), y, spoken)


def place_chart(found: Outliers) -> Markup:
    """Some products of both sides in the two directions in which they differ most."""
    kinds: list[tuple[str, pl.Expr, Tone]] = [
        ("reference", pl.col("side") == "reference", "quiet"),
        ("current", (pl.col("side") == "current") & ~pl.col("beyond"), "plain"),
        ("current, beyond", (pl.col("side") == "current") & pl.col("beyond"), "bad"),
    ]
    groups = [
        Group(name, list(found.places.filter(own).select("x", "y").iter_rows()), tone) for name, own, tone in kinds
    ]
    return scatter_chart(groups, "products in the two directions in which the reference varies most")


def _beyond(side: Placed, limit: float) -> float:
    return float((side.distance > limit).mean())


def _by_cluster(embedding: Embedding, reference: Placed, current: Placed) -> pl.DataFrame:
    table = embedding.clusters.select("cluster", "words", "limit")
    for name, side in (("reference", reference), ("current", current)):
        placed = pl.DataFrame({"cluster": side.cluster, "distance": side.distance}).join(table, on="cluster")
        counted = placed.group_by("cluster").agg(
            (pl.len() / placed.height).alias(f"{name}_share"),
            (pl.col("distance") > pl.col("limit")).mean().alias(f"{name}_beyond"),
        )
        table = table.join(counted, on="cluster", how="left").with_columns(pl.col(f"{name}_share").fill_null(0.0))
    moved = (pl.col("current_share") - pl.col("reference_share")).abs()
    return table.sort(moved, "cluster", descending=[True, False])


def _farthest(current: pl.DataFrame, placed: Placed, spec: CatalogSpec) -> pl.DataFrame:
    texts = [name for name in spec.text_fields if name in current.columns]
    known = [name for name in ("product_id", "label") if name in current.columns]
    table = current.select(
        *(pl.col(name).cast(pl.String) for name in known),
        pl.concat_str(texts, separator=" · ", ignore_nulls=True).alias("text") if texts else pl.lit("").alias("text"),
    ).with_columns(pl.Series("cluster", placed.cluster), pl.Series("distance", placed.distance))
    # Two products of one text say nothing twice.
    far = table.sort("distance", descending=True, maintain_order=True).unique("text", keep="first", maintain_order=True)
    named = far.head(MOST_NAMED)
    return named.with_columns(pl.col("text").map_elements(lambda text: cut(text, _SHOWN_CHARACTERS), pl.String))


def _places(embedding: Embedding, reference: Placed, current: Placed) -> pl.DataFrame:
    """Both sides in the first two principal directions of the reference's vectors."""
    middle = reference.vectors.mean(axis=0)
    # Of a covariance, that is as wide as a vector, and not of all products: a matter of milliseconds.
    _, directions = np.linalg.eigh(np.cov(reference.vectors, rowvar=False, bias=True).reshape(len(middle), -1))
    parts = []
    for name, side in (("reference", reference), ("current", current)):
        flat = (side.vectors[:_DRAWN] - middle) @ directions[:, ::-1][:, :2]
        flat = np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))
        beyond = side.distance[:_DRAWN] > embedding.limit
        parts.append(pl.DataFrame({"x": flat[:, 0], "y": flat[:, 1], "side": [name] * len(flat), "beyond": beyond}))
    return pl.concat(parts)
