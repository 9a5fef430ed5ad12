"""A benchmark's result: a table, goals and the machine, as JSON for programs, as Markdown and SVG for eyes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chart import Panel, draw

__all__ = ["Column", "Goal", "Report", "write"]

NOT_INSTALLED = "not installed"


@dataclass(frozen=True)
class Column:
    """A column of a table: key in the rows, heading, and how a number is written."""

    key: str
    heading: str
    form: str = ",.0f"

    def text(self, row: dict[str, Any]) -> str:
        """The row's value as people read it."""
        value = row.get(self.key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return format(value, self.form)
        return "–" if value is None else str(value)


@dataclass(frozen=True)
class Goal:
    """What was to be reached, and what was."""

    goal: str
    reached: str
    met: bool


@dataclass
class Report:
    """All of a benchmark's result.

    Attributes:
        name: of the benchmark and its files.
        title: one line.
        about: what was measured and how, in a few sentences.
        columns: of the table, after the first, which names the way.
        rows: each with `way`; a rival that could not run says so in `status`.
        charts: columns that are drawn, with their headings.
        ours: how the names of ways that are Aisle's begin, where not with its own name: their bars stand out.
        goals: what was to be reached.
        notes: what a reader has to know beside the figures.
    """

    name: str
    title: str
    about: str
    columns: Sequence[Column]
    rows: list[dict[str, Any]] = field(default_factory=list)
    charts: Sequence[tuple[str, str]] = ()
    ours: Sequence[str] = ()
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, way: str, **values: Any) -> dict[str, Any]:
        """A row of the table."""
        row = {"way": way, **values}
        self.rows.append(row)
        return row

    def missing(self, way: str, status: str = NOT_INSTALLED) -> None:
        """A row for a rival that could not run."""
        self.add(way, status=status)

    def value(self, way: str, key: str) -> float | None:
        """A figure of a row; None where the way did not run."""
        return next((row.get(key) for row in self.rows if row["way"] == way), None)

    def reach(self, goal: str, value: float | None, *, least: float | None = None, most: float | None = None) -> None:
        """Note whether a figure is at least, or at most, what was wanted."""
        if value is None:
            self.goals.append(Goal(goal, "not measured", met=False))
            return
        met = (least is None or value >= least) and (most is None or value <= most)
        self.goals.append(Goal(goal, f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}", met=met))


def write(report: Report, folder: Path, machine: dict[str, Any]) -> None:
    """NAME.json, NAME.md and NAME.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    content = asdict(report) | {"columns": [asdict(column) for column in report.columns], "machine": machine}
    (folder / f"{report.name}.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    (folder / f"{report.name}.md").write_text(_markdown(report, machine))
    forms = {column.key: column.form for column in report.columns}
    panels = [Panel(heading, key, forms.get(key, ",.0f")) for key, heading in report.charts]
    (folder / f"{report.name}.svg").write_text(draw(report.title, report.rows, panels, report.ours))


def _markdown(report: Report, machine: dict[str, Any]) -> str:
    headings = ["", *(column.heading for column in report.columns)]
    lines = [f"# {report.title}", "", report.about, ""]
    lines += [_line(headings), _line(["---", *["---:"] * len(report.columns)])]
    for row in report.rows:
        cells = [column.text(row) for column in report.columns]
        if "status" in row:
            cells = [f"**{row['status']}**", *[""] * (len(cells) - 1)]
        lines.append(_line([row["way"], *cells]))
    if report.goals:
        lines += ["", _line(["Goal", "Reached", ""]), _line(["---", "---:", "---"])]
        lines += [_line([goal.goal, goal.reached, "met" if goal.met else "**not met**"]) for goal in report.goals]
    lines += ["", *(f"- {note}" for note in report.notes)] if report.notes else []
    if report.charts:
        lines += ["", f"![{report.title}]({report.name}.svg)"]
    return "\n".join([*lines, "", _machine(machine), "", f"Made by `scripts/bench {report.name}`.", ""])


def _machine(machine: dict[str, Any]) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    return (
        f"{machine['date']}; {machine['cores_used']} of {machine['cores']} cores ({machine['processor']}, "
        f"{machine['system']}), {machine['memory_gib']} GiB, load {machine['load_at_start']} at the start; "
        f"Python {machine['python']}, {libraries}."
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
