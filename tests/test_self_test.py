"""The detectors' own test: what it tries, and when it may say that its goals were reached."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from reports.measures import Knowledge
from reports.self_test import Trial, World, ways
from reports.self_test_page import met
from tests.test_increments import products, spec


def tried(drift: str | None, *, reached: bool = True) -> Trial:
    return Trial("catalogue", drift, "at random", 200, 100, 0, 0.0, (0.0, 0.04), reached, None)


@pytest.mark.parametrize(
    ("trials", "all_reached"),
    [
        ([tried(None), tried("another language")], True),
        ([tried(None), tried("another language", reached=False)], False),
        ([tried(None, reached=False), tried("another language")], False),
        ([tried("another language")], False),
        ([tried(None)], False),
        ([], False),
    ],
    ids=["both", "drift missed", "false alarms", "only drift", "nothing drifted", "nothing"],
)
def test_goals_are_not_reached_where_nothing_was_tried(trials: list[Trial], all_reached: bool) -> None:
    assert met(trials) is all_reached


def test_a_range_that_comes_behind_another_is_tried() -> None:
    """Then much of what came before is the other range, and none of it the new one's."""
    pool = products(12_000, seed=1).with_columns(known_path=pl.concat_list("label"))
    world = World(spec(), pool, Knowledge(), lambda frame: frame, seed=0)
    (way,) = [one for one in ways(world, 1, [500]) if one.drawn == "new range (brand) after another"]
    before, now = way.draw(np.random.default_rng(0))
    assert before.height == 10_000
    assert not set(before["brand"]) & set(now["brand"])
    stored = pool.group_by("brand").len("stored").join(before.group_by("brand").len("before"), on="brand")
    shares = (stored["before"] / stored["stored"]).sort(descending=True)
    assert shares[0] == 1
    assert shares[1] < 0.95
