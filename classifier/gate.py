"""The gate: is a challenger no worse than the champion? Checks on hold-out rows that neither of them has seen.

That F1 is not lost has to be shown, by a paired bootstrap: not having been seen to be worse is easy on few rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, Literal

import polars as pl

from catalogs.digests import text_hashes
from catalogs.policies import GateSpec
from catalogs.product import KNOWN_PATH, TEXT_HASH, join_paths
from catalogs.spec import CatalogSpec
from classifier.bootstrap import ONE_SIDED, differences, label_differences
from classifier.calibration import calibration_error
from classifier.holdout import holdout_mask
from classifier.model import Model

__all__ = ["Check", "CheckName", "Contestant", "checks", "fewest_rows", "unseen"]

CheckName = Literal["macro_f1", "level_f1", "label_f1", "calibration_error", "latency", "artifact_size"]

LATENCY_ROWS = 2_000
"""Products that both predict in each round, drawn with replacement: some tens of milliseconds."""

LATENCY_ROUNDS = 7
"""Rounds of which the median counts: three may be disturbed."""

_MIB = 1 << 20
# Times the rows that there are: no guess goes further.
_GUESSED = 100


@dataclass(frozen=True)
class Check:
    """One thing that the gate looked at.

    Attributes:
        name: what was compared; `level_f1` is a node of a label path's first level, `label_f1` a label as a whole.
        label: of which label; None of everything.
        title: the same in words.
        rows: of the hold-out, that it was measured on; None for the artifact's size.
        challenger: its value: F1, calibration error, microseconds a product, or bytes.
        champion: its value.
        difference: what the challenger has more.
        low: of F1, what the difference is not below, with 95 % confidence.
        threshold: of F1 the least `low`, of the calibration error the most `difference`, of latency and size the most
            challenger / champion.
        passed: whether it held.
        said: all of it in a sentence or two.
    """

    name: CheckName
    label: str | None
    title: str
    rows: int | None
    challenger: float
    champion: float
    difference: float
    low: float | None
    threshold: float
    passed: bool
    said: str


@dataclass(frozen=True)
class Contestant:
    """A model before the gate.

    Attributes:
        model: as it is served, read from its artifact.
        answers: what it says of the rows: label_path and confidence.
        size: bytes of its artifact.
    """

    model: Model
    answers: pl.DataFrame
    size: int


def unseen(rows: pl.DataFrame, by: CatalogSpec) -> pl.Series:
    """Which rows a model that was trained for this spec has not learnt from: those that its own hold-out kept from it.

    Its share may have been another, and so may the text fields that decide which rows are held out.
    """
    return holdout_mask(text_hashes(rows, by), by.holdout.share)


def checks(
    rows: pl.DataFrame, challenger: Contestant, champion: Contestant, spec: CatalogSpec, seed: int
) -> list[Check]:
    """Every check, in the order in which people read them.

    Args:
        rows: hold-out rows that neither model has seen, with their labels; one at least.
        challenger: the new model.
        champion: the model that answers now.
        spec: the catalogue: its limits, and the levels of its label.
        seed: of resamples and of the products that are timed.
    """
    gate = spec.gate
    found = [_macro_f1(rows, challenger, champion, gate, seed)]
    if len(spec.levels) > 1:
        found += _large_labels("level_f1", rows, challenger, champion, gate, seed)
    found += _large_labels("label_f1", rows, challenger, champion, gate, seed)
    found.append(_calibration(rows, challenger, champion, gate))
    found.append(_latency(rows, challenger, champion, gate, seed))
    found.append(_size(challenger, champion, gate))
    return found


def fewest_rows(loss: float) -> float:
    """Rows on which nothing may be lost to show, at 95 %, that no more than this share is: 149 for .02; none for 0."""
    return math.inf if loss <= 0 else math.ceil(math.log(1 - ONE_SIDED) / math.log(1 - loss))


def _macro_f1(rows: pl.DataFrame, one: Contestant, other: Contestant, gate: GateSpec, seed: int) -> Check:
    truth, own, before = _paths(rows, one, other)
    found = differences(truth, own, before, seed, rows[TEXT_HASH])["macro_f1"]
    return _not_lost("macro_f1", None, found, gate.max_loss, (rows.height, rows[TEXT_HASH].n_unique()))


def _large_labels(
    name: CheckName, rows: pl.DataFrame, one: Contestant, other: Contestant, gate: GateSpec, seed: int
) -> list[Check]:
    """A check of each large label: `level_f1` of those of the first level, `label_f1` of whole labels."""
    truth, own, before = _paths(rows, one, other)
    if name == "level_f1":
        truth, own, before = (path.list.head(1) for path in (truth, own, before))
    found = label_differences(truth, own, before, seed, rows[TEXT_HASH], least_rows=gate.min_label_rows)
    labelled = pl.DataFrame({"label": truth, "text": rows[TEXT_HASH]}).group_by(join_paths("label"))
    texts: dict[str, int] = dict(labelled.agg(pl.col("text").n_unique()).rows())
    largest_first = sorted(found.items(), key=lambda item: (-item[1]["rows"], item[0]))
    return [
        _not_lost(name, label, own, gate.max_label_loss, (own["rows"], texts[label])) for label, own in largest_first
    ]


def _paths(rows: pl.DataFrame, one: Contestant, other: Contestant) -> tuple[pl.Series, pl.Series, pl.Series]:
    return rows[KNOWN_PATH], one.answers["label_path"], other.answers["label_path"]


def _not_lost(
    name: CheckName, label: str | None, found: Mapping[str, Any], allowed: float, counted: tuple[int, int]
) -> Check:
    """Whether it is shown that no more F1 is lost than is allowed.

    `counted` are rows, and texts among them: copies of a text prove as much as one.
    """
    low, difference, (rows, texts) = found["low"], found["difference"], counted
    enough = texts >= fewest_rows(allowed)
    passed = low > 0 or (enough and low >= -allowed)
    title = "macro F1" if label is None else f"F1 of {label}{' (first level)' if name == 'level_f1' else ''}"
    key = "max_loss" if label is None else "max_label_loss"
    said = [f"{title[0].upper()}{title[1:]} {found['one']:.4f}, champion {found['other']:.4f}"]
    between = f"the difference lies between {found['low']:+.4f} and {found['high']:+.4f} (90 % interval)"
    if passed:
        said.append(f"with 95 % confidence the difference is not below {low:+.4f}; {-allowed:+.4f} is allowed")
    elif difference < 0 and difference <= -allowed:
        said.append(f"it loses {-difference:.4f}, and {allowed:.4f} is allowed; {between}")
    else:
        said.append(f"{_too_few(found, allowed, rows, texts, key)}; {between}")
    return Check(
        name=name,
        label=label,
        title=title,
        rows=rows,
        challenger=found["one"],
        champion=found["other"],
        difference=difference,
        low=low,
        threshold=-allowed,
        passed=passed,
        said=": ".join(said) + ".",
    )


def _too_few(found: Mapping[str, Any], allowed: float, rows: int, texts: int, key: str) -> str:
    """Why nothing is shown, and what to do."""
    if allowed <= 0:
        return f"gate.{key} = 0 asks for a gain, and {rows:,} hold-out rows do not show one"
    few = f"{rows:,} hold-out rows are too few to show that it loses no more than {allowed:.4f}"
    wanted = rows / texts * fewest_rows(allowed)
    if found["low"] >= -allowed:
        few += ", even without a loss"
    else:  # an interval shrinks with the root of the rows
        stretch = (found["difference"] - found["low"]) / (found["difference"] + allowed)
        wanted = max(wanted, rows * stretch**2)
    enough = f"about {_rounded(wanted):,}" if wanted < _GUESSED * rows else "many times as many"
    return f"{few}: that takes {enough}; label more products, or set a larger gate.{key}"


def _rounded(rows: float) -> int:
    """Rounded up to two digits: it is a guess."""
    digits = max(0, math.floor(math.log10(max(rows, 1.0))) - 1)
    return int(math.ceil(rows / 10**digits) * 10**digits)


def _calibration(rows: pl.DataFrame, one: Contestant, other: Contestant, gate: GateSpec) -> Check:
    own, before = (
        calibration_error(
            side.answers["confidence"].to_numpy(), (rows[KNOWN_PATH] == side.answers["label_path"]).to_numpy()
        )
        for side in (one, other)
    )
    more, allowed = own - before, gate.max_calibration_loss
    return Check(
        name="calibration_error",
        label=None,
        title="calibration error",
        rows=rows.height,
        challenger=own,
        champion=before,
        difference=more,
        low=None,
        threshold=allowed,
        passed=more <= allowed,
        said=f"Calibration error {own:.4f}, champion {before:.4f}: {more:+.4f}, and {allowed:+.4f} is allowed.",
    )


def _latency(rows: pl.DataFrame, one: Contestant, other: Contestant, gate: GateSpec, seed: int) -> Check:
    sample = rows.sample(LATENCY_ROWS, with_replacement=True, seed=seed)
    own, before = (seconds / LATENCY_ROWS * 1e6 for seconds in _medians(sample, one.model, other.model))
    ignored = own - before <= gate.ignored_slowdown_us
    within = own <= before * gate.max_slowdown
    verdict = f"{own / before:.2f} times as long, and {gate.max_slowdown:g} times is allowed"
    if ignored and not within:
        verdict += f", but it is within {gate.ignored_slowdown_us:g} microseconds, which are ignored"
    return Check(
        name="latency",
        label=None,
        title="latency",
        rows=rows.height,
        challenger=own,
        champion=before,
        difference=own - before,
        low=None,
        threshold=gate.max_slowdown,
        passed=within or ignored,
        said=f"A product takes {own:.1f} microseconds, champion {before:.1f}: {verdict}.",
    )


def _medians(sample: pl.DataFrame, one: Model, other: Model) -> tuple[float, float]:
    """Seconds that each takes for the sample: in turns, so that whatever else the machine does disturbs both alike."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(LATENCY_ROUNDS + 1):
        for model, own in zip((one, other), seconds, strict=True):
            start = perf_counter()
            model.predict(sample, threads=1)
            own.append(perf_counter() - start)
    first, second = (median(own[1:]) for own in seconds)  # the first time, weights are read from disk
    return first, second


def _size(one: Contestant, other: Contestant, gate: GateSpec) -> Check:
    within = one.size <= other.size * gate.max_growth
    ignored = one.size <= gate.ignored_size_mib * _MIB
    verdict = f"{one.size / other.size:.2f} times as large, and {gate.max_growth:g} times is allowed"
    if ignored and not within:
        verdict += f", but up to {gate.ignored_size_mib:g} MiB is ignored"
    return Check(
        name="artifact_size",
        label=None,
        title="artifact size",
        rows=None,
        challenger=one.size,
        champion=other.size,
        difference=one.size - other.size,
        low=None,
        threshold=gate.max_growth,
        passed=within or ignored,
        said=f"The artifact has {one.size / _MIB:.1f} MiB, champion {other.size / _MIB:.1f}: {verdict}.",
    )
