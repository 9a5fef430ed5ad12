"""What the gate tells from luck: retrainings that are as good, and harmed ones, on hold-outs of several sizes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.measure import Work, measured
from benchmarks.options import Options
from benchmarks.products import canonical
from benchmarks.protocols import PROTOCOLS, joined
from benchmarks.results import Column, Report

if TYPE_CHECKING:
    import polars as pl

    from catalogs.spec import CatalogSpec

__all__ = ["compare", "run"]

SETS = ("demo", "newsgroups", "asos", "gpc", "amazon_india", "elo7")
SIZES = (300, 600, 1_500, 4_000)
DEMO_ROWS = 20_000
REPETITIONS = 40
LOSSES = (0.005, 0.01, 0.02, 0.03)
LABEL_LOSSES = (0.05, 0.1)
LABEL_ROWS = (50, 100, 200)
CALIBRATION_LOSSES = (0.01, 0.02)
CHAMPION = 0.8
"""Share of the training rows that the champion had; a retraining has all of them."""
HARM = 0.3
"""Share of the largest label's training rows that a damaged file calls by the name of the second largest."""


def run(options: Options) -> Report:
    """Measure."""
    columns = [
        Column("rows", "hold-out rows"),
        Column("difference", "macro F1, difference", "+.4f"),
        Column("below", "low end below it by", ".4f"),
        *(Column(f"macro_{loss}", f"passes, max_loss {loss:g}", ".2f") for loss in LOSSES),
    ]
    for rows in LABEL_ROWS:
        columns.append(Column(f"large_{rows}", f"labels of {rows} rows", ".1f"))
        columns += [
            Column(f"labels_{rows}_{loss}", f"all of them pass, max_label_loss {loss:g}", ".2f")
            for loss in LABEL_LOSSES
        ]
    columns.append(Column("calibration", "calibration error, difference", "+.4f"))
    columns += [
        Column(f"calibration_{loss}", f"passes, max_calibration_loss {loss:g}", ".2f") for loss in CALIBRATION_LOSSES
    ]
    report = Report(
        "gate",
        "The gate",
        f"The champion learnt from {CHAMPION:.0%} of the training rows. Challengers: *retrained* on all of them, with "
        f"the same recipe (`linear-fast`); *harmed*: the same, but {HARM:.0%} of the largest label's rows are called "
        f"by the second largest's name. Both answer for a hold-out of other texts, and the gate looks at {REPETITIONS} "
        "random parts of it (all of it: once). Passes: share of these parts in which the paired bootstrap shows that "
        "no more than the limit is lost.",
        columns,
        charts=(("below", "how far the low end is below the difference"),),
    )
    for name in SETS:
        protocol = next((protocol for protocol in PROTOCOLS if protocol.name == name), None)
        if protocol is not None and not protocol.is_there:
            report.missing(name, "skipped: this real set is not beside the project")
            continue
        options.say(f"gate: {name}")
        found = measured(compare, {"name": name, "rows": options.rows}).facts
        for one in found["rows"]:
            report.add(f"{name}: {one.pop('way')}", **one)
    return report


def compare(name: str, rows: int | None) -> Work:
    """Job: both challengers of one set, on hold-outs of every size."""
    from catalogs.product import KNOWN_PATH, TEXT_HASH
    from classifier.holdout import holdout_mask, nested_mask
    from classifier.model import fit
    from classifier.recipes import resolve

    spec, frame = _products(name)
    if rows:
        frame = frame.sample(min(rows, frame.height), seed=0)
    held = holdout_mask(frame[TEXT_HASH], spec.holdout.share)
    train, test = frame.filter(~held), frame.filter(held)
    recipe = resolve(spec, "linear-fast")

    def work() -> dict[str, Any]:
        part = train.filter(nested_mask(train[TEXT_HASH], CHAMPION))
        before, found = fit(part, spec, recipe, 0).predict(test, reasons=False), []
        for way, learnt in (("retrained", train), ("harmed", _harmed(train))):
            after = fit(learnt, spec, recipe, 0).predict(test, reasons=False)
            table = test.select(KNOWN_PATH, TEXT_HASH).with_columns(
                own=after["label_path"],
                before=before["label_path"],
                own_confidence=after["confidence"],
                before_confidence=before["confidence"],
            )
            sizes = [size for size in SIZES if size < table.height]
            found += [_judged(table, size, way) for size in (*sizes, table.height)]
        return {"rows": found}

    return work


def _products(name: str) -> tuple[CatalogSpec, pl.DataFrame]:
    if name == "demo":
        from catalogs.demo import generate

        with TemporaryDirectory() as folder:
            return canonical(generate(Path(folder), DEMO_ROWS), name)
    protocol = next(protocol for protocol in PROTOCOLS if protocol.name == name)
    return protocol.read(protocol.train)


def _harmed(train: pl.DataFrame) -> pl.DataFrame:
    """The training rows after a damaged file: a share of the largest label's have the second largest's name."""
    import polars as pl

    labels = joined(train["known_path"])
    first, second = labels.value_counts(sort=True, name="rows").head(2).to_series(0)
    wrong = (labels == first) & pl.Series(np.random.default_rng(0).random(len(train)) < HARM)
    other = train["known_path"].filter(labels == second).head(1)
    paths = pl.when(wrong).then(pl.lit(other).first()).otherwise(pl.col("known_path"))
    return train.with_columns(paths.alias("known_path"))


def _judged(table: pl.DataFrame, size: int, way: str) -> dict[str, Any]:
    """What the gate says of parts of the hold-out of one size."""
    from classifier.bootstrap import differences, label_differences
    from classifier.calibration import calibration_error

    parts = [table] if size == table.height else [table.sample(size, seed=seed) for seed in range(REPETITIONS)]
    macro, labels, calibration = [], [], []
    for seed, part in enumerate(parts):
        asked = (part["known_path"], part["own"], part["before"], seed, part["text_hash"])
        macro.append(differences(*asked)["macro_f1"])
        labels.append(label_differences(*asked, least_rows=min(LABEL_ROWS)).values())
        own, before = (
            calibration_error(part[f"{side}_confidence"].to_numpy(), (part["known_path"] == part[side]).to_numpy())
            for side in ("own", "before")
        )
        calibration.append(own - before)
    found: dict[str, Any] = {
        "way": f"{way}, {'all' if size == table.height else f'{size:,} rows'}",
        "rows": size,
        "difference": float(np.mean([one["difference"] for one in macro])),
        "below": float(np.mean([one["difference"] - one["low"] for one in macro])),
    }
    for loss in LOSSES:
        found[f"macro_{loss}"] = float(np.mean([one["low"] >= -loss for one in macro]))
    for rows in LABEL_ROWS:
        large = [[one["low"] for one in part if one["rows"] >= rows] for part in labels]
        found[f"large_{rows}"] = float(np.mean([len(lows) for lows in large]))
        for loss in LABEL_LOSSES:
            found[f"labels_{rows}_{loss}"] = float(np.mean([all(low >= -loss for low in lows) for lows in large]))
    found["calibration"] = float(np.mean(calibration))
    for loss in CALIBRATION_LOSSES:
        found[f"calibration_{loss}"] = float(np.mean([more <= loss for more in calibration]))
    return found
