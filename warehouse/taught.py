"""What a model may have been taught: texts that stood in its catalogue with a label when it was trained."""

from __future__ import annotations

import polars as pl

from warehouse import registry, tables
from warehouse.home import Home
from warehouse.recorded import recorded


def taught(home: Home, catalog: str, version: str, texts: pl.Series) -> pl.Series:
    """Which of these texts had been stored with a label of the source's, or a person's, before a model was trained.

    Those of its hold-out are among them. A product that had another text by then, or was removed, is counted with the
    text that it had: `products` only grows.

    Args:
        home: where the catalogue lies.
        catalog: its name.
        version: the model.
        texts: digests of normalised texts.

    Returns:
        True for each text that was there.
    """
    versions = recorded(home, catalog)
    products = tables.scan(home.table(catalog, "products"), versions.get("products"))
    events = registry.published(home, catalog).filter((pl.col("version") == version) & (pl.col("event") == "trained"))
    if products is None or events.is_empty():
        return pl.Series([False] * len(texts), dtype=pl.Boolean)
    then = pl.lit(events["noted_at"].max())
    labels = tables.read(home.table(catalog, "labels"), "labels", versions.get("labels"))
    by_people = labels.filter(pl.col("labelled_at") <= then)["product_id"].unique()
    has_label = pl.col("known_path").is_not_null() | pl.col("product_id").is_in(by_people.implode())
    asked = texts.unique().to_frame("text_hash").lazy()
    known = products.filter((pl.col("stored_at") <= then) & has_label).join(asked, on="text_hash", how="semi")
    return texts.is_in(known.select(pl.col("text_hash").unique()).collect().to_series().implode())
