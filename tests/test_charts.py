"""Charts of the reports can be read: nothing covers what it names."""

from __future__ import annotations

import re

from reports.charts import RIGHT, WIDTH, Axis, Line, line_chart


def test_the_name_of_a_dashed_line_stands_where_the_curve_does_not():
    """A curve that crosses the line on its right, above and below: the name goes to the middle."""
    ticks = [(0.0, "0"), (1.0, "1")]
    points = [(0.01 * step, 1.0 if step < 60 else 1.0 - 0.02 * (step - 60)) for step in range(101)]
    chart = line_chart(
        [Line("aisle", points)], Axis("x", 0, 1, ticks), Axis("y", 0, 1, ticks), "spoken", (0.5, "asked")
    )
    place = float(re.search(r'class="over" x="([^"]*)"', chart)[1])
    assert place < WIDTH - RIGHT - 72
    straight = line_chart(
        [Line("aisle", [(0, 1), (1, 1)])], Axis("x", 0, 1, ticks), Axis("y", 0, 1, ticks), "", (0.5, "a")
    )
    assert float(re.search(r'class="over" x="([^"]*)"', straight)[1]) == WIDTH - RIGHT - 5
