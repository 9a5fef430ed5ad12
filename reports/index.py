"""The page that links every report, newest first: what was looked at, when, and what it said.

It reads the .json beside each page and nothing else, so it is right however the reports got there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reports import page

__all__ = ["Entry", "entries", "write"]

_KINDS = {
    "validation": "Validation",
    "evaluation": "Evaluation",
    "gate": "Gate",
    "drift": "Drift",
    "self_test": "Self-test",
}
_ORDER = {kind: place for place, kind in enumerate(_KINDS.values())}
_COMPARISONS = {"catalogue": "whole catalogue", "arrivals": "arrivals"}
_TONES = {"good", "review", "bad", "quiet", "plain"}


@dataclass(frozen=True)
class Entry:
    """One report.

    Attributes:
        href: the page, relative to the folder of all reports.
        kind: in words.
        catalog: name of the catalogue.
        run_id: the run that wrote it; None when unknown.
        time: UTC; None when unknown.
        verdict: what it said, in a few words.
        tone: good, review, bad, quiet or plain.
    """

    href: str
    kind: str
    catalog: str
    run_id: str | None
    time: datetime | None
    verdict: str
    tone: str


def write(reports_folder: Path) -> Path:
    """Write index.html into the folder of all reports, over everything that lies in it.

    A report whose .json cannot be read is still linked, and the page says so.
    """
    found = entries(reports_folder)
    latest: dict[tuple[str, str], Entry] = {}
    # What was judged stands until it is judged anew: a night with too little to judge by has said nothing else.
    for entry in sorted(found, key=lambda entry: entry.verdict == page.NO_VERDICT):
        latest.setdefault((entry.catalog, entry.kind), entry)
    newest = sorted(
        latest.values(), key=lambda entry: (entry.catalog, _ORDER[entry.kind.partition(",")[0]], entry.kind)
    )
    return page.write(
        reports_folder / "index.html",
        "index.html",
        title="Reports",
        facts=[("Reports", page.number(len(found))), ("Catalogues", page.number(len({e.catalog for e in found})))],
        newest=newest,
        entries=found,
    )


def entries(reports_folder: Path) -> list[Entry]:
    """Every report in the folder and below, newest first."""
    pages = [facts for facts in sorted(reports_folder.rglob("*.json")) if facts.with_suffix(".html").is_file()]
    found = [entry for facts in pages if (entry := _entry(reports_folder, facts)) is not None]
    oldest = datetime.min.replace(tzinfo=UTC)
    return sorted(found, key=lambda entry: (entry.time or oldest, entry.href), reverse=True)


def _entry(reports_folder: Path, facts: Path) -> Entry | None:
    """The report of a .json file; None when it is something else."""
    href = facts.with_suffix(".html").relative_to(reports_folder).as_posix()
    family = facts.stem.partition("_")[0]
    said = _read(facts)
    if said is None:
        # Damaged, but by its name a report of ours: its page may still be good, so it must not vanish.
        text = f"{facts.name} cannot be read"
        return Entry(href, _KINDS[family], "unknown", None, None, text, "bad") if family in _KINDS else None
    kind = _KINDS.get(str(said.get("kind", family)))
    if kind is None:
        return None
    if comparison := said.get("comparison"):
        kind = f"{kind}, {_COMPARISONS.get(str(comparison), comparison)}"
    verdict, tone = _verdict(said)
    run_id = said.get("run_id")
    return Entry(
        href=href,
        kind=kind,
        catalog=str(said.get("catalog", "unknown")),
        run_id=None if run_id is None else str(run_id),
        time=_time(said.get("time", said.get("made_at"))),
        verdict=verdict,
        tone=tone if tone in _TONES else "plain",
    )


def _read(facts: Path) -> dict[str, Any] | None:
    try:
        said = json.loads(facts.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def _verdict(said: dict[str, Any]) -> tuple[str, str]:
    """What a report said, and its tone; a validation says it in its rows."""
    if "verdict" in said:
        return str(said["verdict"]), str(said.get("tone", "plain"))
    rows = said.get("rows")
    if not isinstance(rows, dict):
        return page.NO_VERDICT, "quiet"
    text = f"{page.number(rows.get('read'))} rows read, {page.number(rows.get('rejected'))} rejected"
    if said.get("balanced") is False:
        return f"{text}, and the account does not balance", "bad"
    return text, "review" if rows.get("rejected") else "good"


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
