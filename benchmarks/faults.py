"""What is the matter with a real set itself: repeated texts, labels that contradict each other, answers that leak."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.products import SHARED, canonical
from benchmarks.protocols import PROTOCOLS, Protocol, Split, answered, joined

if TYPE_CHECKING:
    import polars as pl

    from catalogs.spec import CatalogSpec

__all__ = ["FAULTS", "faults"]

_SMALL = 10
"""A label of fewer products is small: where a fifth is held out, that is one or two of them."""

_SENDER = re.compile(r"^From: *(.+)$", re.MULTILINE)
_SUBJECT = re.compile(r"^Subject: *(?:re: *)*(.+)$", re.MULTILINE | re.IGNORECASE)
_YEARS = "2012"
"""The first year that counts as later in myntra: most products are of this year and the one before."""


def faults(catalog: str, path: str) -> dict[str, Any]:
    """Figures of the labelled products of a file, each row counted, before any is stored.

    Args:
        catalog: the set's catalogue.
        path: of the file, below the real data.
    """
    import polars as pl

    spec, frame = canonical(SHARED / "data" / path, catalog)
    labels = joined(frame["known_path"]).value_counts(sort=True)["count"]
    found = {
        "rows": frame.height,
        "labels": len(labels),
        "small_labels": int((labels < _SMALL).sum()),
        "small_below": _SMALL,
        "largest_label": int(labels.max()),  # type: ignore[arg-type]  # of counts it is a number
        "smallest_label": int(labels.min()),  # type: ignore[arg-type]
        **_texts(frame),
    }
    if spec.id:
        several = frame.group_by("product_id").agg(pl.len(), joined_paths().n_unique().alias("labels"))
        found["repeated_ids"] = several.filter(pl.col("len") > 1).height
        found["ids_of_several_labels"] = several.filter(pl.col("labels") > 1).height
    first = frame["known_path"].list.first().value_counts(sort=True)
    found["largest_first"] = {"label": first["known_path"][0], "share": first["count"][0] / frame.height}
    return found | (FAULTS[catalog](spec, frame) if catalog in FAULTS else {})


def joined_paths() -> pl.Expr:
    """The label of a row as one text."""
    import polars as pl

    return pl.col("known_path").list.join("\0")


def _texts(frame: pl.DataFrame) -> dict[str, Any]:
    """Rows that share their text with others, texts of several labels, and what these allow a model of the text."""
    import polars as pl

    counted = frame.group_by("text_hash", joined_paths().alias("label")).len()
    texts = counted.group_by("text_hash").agg(
        pl.col("len").sum().alias("rows"), pl.col("len").max().alias("most"), pl.len().alias("labels")
    )
    split = texts.filter(pl.col("labels") > 1)
    return {
        "repeating_rows": frame.height - texts.height,
        "conflicting_texts": split.height,
        "conflicting_rows": int(split["rows"].sum()),
        # Who answers each text by its commonest label is right on so many, and nobody who reads the text on more.
        "ceiling": int(texts["most"].sum()) / frame.height,
    }


def _familiar(spec: CatalogSpec, frame: pl.DataFrame) -> dict[str, Any]:
    """newsgroups: posts of senders and threads that training knows; what headers, quotes and footers are worth."""
    import polars as pl

    from classifier.holdout import holdout_mask
    from classifier.recipes import resolve

    held = holdout_mask(frame["text_hash"], spec.holdout.share)
    own, later = frame["text"].to_list(), _split(_protocol("newsgroups"))[1]["text"].to_list()
    found: dict[str, Any] = {"test_rows": len(later), "holdout": {}, "test": {}}
    masks = {}
    for name, read in (("sender", _sender), ("thread", _thread)):
        of_post = pl.Series([read(text) for text in own], dtype=pl.String)
        found["holdout"][name] = _share(_known(of_post.filter(held), of_post.filter(~held)))
        masks[name] = _known(pl.Series([read(text) for text in later], dtype=pl.String), of_post)
        found["test"][name] = _share(masks[name])
    for key, name in (("whole", "newsgroups"), ("stripped", "newsgroups, stripped")):
        split = Split(*_split(_protocol(name)))
        given = answered(split, spec, resolve(spec, None))
        found[key] = _accuracies(split.test["known_path"], given, spec, masks)
        empty = pl.col("text").str.strip_chars() == ""
        found[key]["empty"] = {"train": split.train.filter(empty).height, "test": split.test.filter(empty).height}
    return {"familiar": found}


def _known(values: pl.Series, others: pl.Series) -> pl.Series:
    return values.is_in(others.drop_nulls().unique().implode()).fill_null(value=False)


def _share(mask: pl.Series) -> float:
    return float(mask.mean() or 0.0)  # type: ignore[arg-type]  # of booleans it is a number


def _accuracies(truth: pl.Series, given: pl.Series, spec: CatalogSpec, masks: dict[str, pl.Series]) -> dict[str, Any]:
    """Accuracy and macro F1; and accuracy where the sender or the thread is known, and where it is not."""
    from classifier.metrics import evaluate

    metrics, right = evaluate(truth, given, spec.levels), truth == given
    found = {"accuracy": metrics["accuracy"], "macro_f1": metrics["macro_f1"]}
    for name, mask in masks.items():
        found[name] = {"known": _share(right.filter(mask)), "unknown": _share(right.filter(~mask))}
    return found


def _protocol(name: str) -> Protocol:
    return next(protocol for protocol in PROTOCOLS if protocol.name == name)


def _split(protocol: Protocol) -> tuple[pl.DataFrame, pl.DataFrame]:
    _, frame = protocol.read(protocol.train)
    split = next(protocol.splits(frame))
    return split.train, split.test


def _sender(text: str) -> str | None:
    found = _SENDER.search(text)
    return found.group(1).strip() if found else None


def _thread(text: str) -> str | None:
    """The subject without “Re:”."""
    found = _SUBJECT.search(text)
    return found.group(1).strip().lower() if found else None


def _cut_names(spec: CatalogSpec, frame: pl.DataFrame) -> dict[str, Any]:
    """amazon_india: names that end in an ellipsis, prices that are missing."""
    import polars as pl

    del spec
    cut = frame["name"].str.strip_chars_end().str.contains(r"(…|\.\.\.)$").mean()
    return {"cut_names": cut, "without_price": frame.select(pl.col("actual_price").is_null().mean()).item()}


def _broken(spec: CatalogSpec, frame: pl.DataFrame) -> dict[str, Any]:
    """gpc: texts that lost characters before they came here."""
    import polars as pl

    hurt = pl.any_horizontal(pl.col(field).str.contains("\ufffd", literal=True) for field in spec.text_fields)
    return {"broken_rows": frame.filter(hurt).height}


def _years(spec: CatalogSpec, frame: pl.DataFrame) -> dict[str, Any]:
    """myntra: later products by a model of earlier ones, beside a model of as many products of all years."""
    import polars as pl

    from classifier.metrics import evaluate
    from classifier.recipes import resolve

    frame = frame.unique("product_id", keep="last", maintain_order=True).filter(pl.col("year").is_not_null())
    later = pl.col("year").str.slice(0, 4) >= _YEARS
    early, late = frame.filter(~later), frame.filter(later)
    # The text's digest is as good as chance, and keeps a text on one side.
    mixed = frame.sort("text_hash").head(early.height)
    late = late.join(mixed.select("text_hash").unique(), on="text_hash", how="anti")
    late = late.join(early.select("text_hash").unique(), on="text_hash", how="anti")
    recipe = resolve(spec, None)
    found: dict[str, Any] = {"from": int(_YEARS), "trained": early.height, "rows": late.height}
    for name, train in (("earlier", early), ("mixed", mixed)):
        metrics = evaluate(late["known_path"], answered(Split(train, late), spec, recipe), spec.levels)
        levels = {level: facts["accuracy"] for level, facts in metrics["levels"].items()}
        known = late["known_path"].is_in(train["known_path"].unique().implode())
        found[name] = {"accuracy": metrics["accuracy"], "macro_f1": metrics["macro_f1"], "levels": levels}
        found[name]["unknown_rows"] = int((~known).sum())
    return {"years": found}


FAULTS: dict[str, Callable[[CatalogSpec, pl.DataFrame], dict[str, Any]]] = {
    "newsgroups": _familiar,
    "amazon_india": _cut_names,
    "gpc": _broken,
    "myntra": _years,
}
"""What only one set has."""
