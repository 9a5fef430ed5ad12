"""The page of the gate: challenger beside champion, every check with what it may lose, and what failed in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from classifier.gate import Check
from reports import page

__all__ = ["write"]

_F1 = {"macro_f1", "level_f1", "label_f1"}
_MIB = 1 << 20
# A quarter of a picture, where nothing may be lost.
_STEP = 0.01


def write(
    folder: Path,
    checks: Sequence[Check],
    *,
    catalog: str,
    run_id: str,
    versions: tuple[str, str],
    rows: int,
    promoted: bool,
    seed: int,
    made_at: datetime | None = None,
) -> Path:
    """Write gate.html, and the same as gate.json.

    Args:
        folder: where to; made when it is not there.
        checks: what was compared.
        catalog: name of the catalogue.
        run_id: the run that compared.
        versions: the challenger's and the champion's.
        rows: hold-out rows that both were compared on.
        promoted: whether the challenger is champion now; against failed checks where a person overruled them.
        seed: of resamples.
        made_at: UTC; now when not given.

    Returns:
        The page.
    """
    made_at = made_at or datetime.now(UTC)
    failed = [check for check in checks if not check.passed]
    overruled = promoted and bool(failed)
    verdict = f"{versions[0]} is champion" if promoted else f"{versions[0]} was refused"
    counted = f"{len(failed)} of {len(checks)} checks failed" if failed else f"all {len(checks)} checks passed"
    machine = {
        "kind": "gate",
        "catalog": catalog,
        "run_id": run_id,
        "time": made_at.isoformat(timespec="seconds"),
        "verdict": f"{verdict}: {counted}{', and were overruled' if overruled else ''}",
        "tone": "review" if overruled else "good" if promoted else "bad",
        "model_version": versions[0],
        "champion_version": versions[1],
        "promoted": promoted,
        "rows": rows,
        "seed": seed,
        "checks": [asdict(check) for check in checks],
    }
    page.write_text(folder / "gate.json", json.dumps(machine, ensure_ascii=False, indent=1, allow_nan=False) + "\n")
    return page.write(
        folder / "gate.html",
        "gate.html",
        title=f"Gate of {catalog}: {versions[0]} against {versions[1]}",
        facts=[
            ("Catalogue", catalog),
            ("Challenger", versions[0]),
            ("Champion", versions[1]),
            ("Run", run_id),
            ("Seed", seed),
        ],
        made_at=made_at,
        machine=machine,
        verdict=verdict,
        counted=counted,
        overruled=overruled,
        failed=failed,
        f1=[_f1_row(check) for check in checks if check.name in _F1],
        others=[_other_row(check) for check in checks if check.name not in _F1],
    )


def _f1_row(check: Check) -> dict[str, Any]:
    """A difference of F1 as a picture: none in the middle, the limit at a quarter, cut at the ends."""
    limit = -check.threshold or _STEP
    low, difference = (50 + 25 * max(-2.0, min(2.0, value / limit)) for value in (check.low or 0.0, check.difference))
    return {"check": check, "title": _title(check), "low_at": low, "difference_at": difference}


def _other_row(check: Check) -> dict[str, Any]:
    own, before, limit = _shown(check)
    return {"check": check, "title": _title(check), "own": own, "before": before, "limit": limit}


def _title(check: Check) -> str:
    return check.title[0].upper() + check.title[1:]


def _shown(check: Check) -> tuple[str, str, str]:
    """Values of both models and what is allowed, with their units."""
    if check.name == "latency":
        values = [f"{value:,.1f} µs a product" for value in (check.challenger, check.champion)]
        return values[0], values[1], f"{check.threshold:g} times as long"
    if check.name == "artifact_size":
        values = [f"{value / _MIB:,.1f} MiB" for value in (check.challenger, check.champion)]
        return values[0], values[1], f"{check.threshold:g} times as large"
    return page.decimal(check.challenger), page.decimal(check.champion), f"{page.signed(check.threshold, 4)}"
