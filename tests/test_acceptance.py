"""What is accepted is as precise as was asked, on rows that neither calibration nor thresholds have seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.calibration import OURS, REPETITIONS, compare


@pytest.mark.parametrize(
    ("name", "coverage"),
    [
        ("newsgroups", 0.8),
        ("asos", 0.4),
        pytest.param("elo7", 0.05, marks=pytest.mark.slow),
        pytest.param("amazon_india", 0.2, marks=pytest.mark.slow),
    ],
)
def test_accepted_rows_meet_the_target_in_95_of_100_resamplings(shared_data: Path, name: str, coverage: float) -> None:
    """Real products, cut in two at random a hundred times: thresholds from one half, precision on the other."""
    found = compare(name, None)()
    accepted = found["acceptance"]
    assert accepted["kept"] >= 0.95 * REPETITIONS
    assert accepted["coverage"] > coverage
    ours = found["methods"][OURS]
    assert ours["log_loss"] < found["methods"]["softmax as it is"]["log_loss"]
    assert ours["ece"] < (0.02 if ours["rows"] > 2_000 else 0.08)
