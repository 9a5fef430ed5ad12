"""A million products in review: the most useful are found within the memory that a run may take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests import stored
from tests.commands import PROJECT
from warehouse import tables
from warehouse.runs import open_run

PRODUCTS = 1_000_000
PART = 100_000
WORDS_A_TITLE = 40
MOST_MIB = 2_048

MEASURED = """
import resource, sys
from aisle.cli import run
code = run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
sys.exit(code)
"""


def products(first: int) -> pl.DataFrame:
    """Some products of a thousand kinds, each with words of its own."""
    dice = np.random.default_rng(first)
    kind = dice.integers(1_000, size=PART)
    words = [f"word{n}" for n in range(20_000)]
    numbers = kind[:, None] * 20 + dice.integers(20, size=(PART, WORDS_A_TITLE))
    ids = [f"{first + n:07d}" for n in range(PART)]
    return pl.DataFrame(
        {
            "seq": np.arange(first, first + PART),
            "first_seq": np.arange(first, first + PART),
            "product_id": ids,
            "title": pl.Series(words).gather(numbers.ravel()).reshape((PART, WORDS_A_TITLE)).arr.join(" "),
            "text_hash": [f"{one}{'0' * 57}" for one in ids],
            "feature_hash": [f"{one}{'1' * 57}" for one in ids],
            "row_hash": [f"{one}{'2' * 57}" for one in ids],
            "label": ["Books"] * PART,
            "label_path": [["Books"]] * PART,
            "confidence": dice.random(PART) * 0.7,
            "runner_up": ["Toys"] * PART,
            "model_version": ["v1"] * PART,
            "model_digest": ["digest-1"] * PART,
        }
    ).with_columns(pl.concat_list("confidence").alias("confidence_path"))


@pytest.mark.slow
def test_a_million_products_in_review_fit_into_memory(shelves: Path, tmp_path: Path) -> None:
    with open_run("shelf", "nightly") as run:
        stored.crown(run, "v1", "digest-1")
        parts = [products(first) for first in range(0, PRODUCTS, PART)]
        for part in parts:
            given = part.select(name for name in part.columns if name in tables.COLUMNS["products"] or name == "title")
            run.append("products", tables.conform(given, "products"))
        run.overwrite("state", tables.conform(pl.concat(parts).drop("title"), "state"))
    out = tmp_path / "look.csv"
    words = ["review", "export", "shelf", "--most", "1000", "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", MEASURED, *words], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1,000 of 1,000,000 products in review" in done.stdout
    chosen = pl.read_csv(out, infer_schema=False)
    assert chosen.height == chosen["product_id"].n_unique() == 1_000
    assert chosen["confidence"].cast(pl.Float64).max() < 0.0071  # of the 10,000 least sure: a hundredth of all
    assert int(done.stderr.split()[-1]) < MOST_MIB
