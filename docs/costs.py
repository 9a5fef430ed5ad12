"""What a night costs: the table of docs/deploy.md, from measured throughput and a price that the reader sets.

python -m docs.costs --price 0.04     the table at your price of a vCPU hour
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BULK", "PRICE", "Measured", "basis", "measured", "table"]

BULK = Path(__file__).resolve().parent.parent / "benchmarks" / "results" / "bulk.json"
"""From a file to queryable predictions; `scripts/bench bulk` writes it."""

PRICE = 0.05
"""Price of a vCPU hour, memory included, in whatever currency: an assumption, nobody's price list."""

NIGHTS = (1_000_000, 10_000_000, 100_000_000)
RECIPES = ("linear-fast", "linear")
NIGHTS_A_MONTH = 30
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Measured:
    """A recipe's throughput.

    Attributes:
        rate: products a second, from a file to predictions that SQL finds, on all `cores` together.
        cores: cores that it was measured on.
        products: how many were scored.
        peak_mib: most memory that the process held, in MiB.
    """

    rate: float
    cores: int
    products: int
    peak_mib: float


def measured(results: Path = BULK) -> dict[str, Measured]:
    """What the benchmark found, by recipe: its largest run. Nothing where it has not been run."""
    if not results.exists():
        return {}
    content = json.loads(results.read_text(encoding="utf-8"))
    found: dict[str, Measured] = {}
    for row in content["rows"]:
        recipe = row["way"].removeprefix("Aisle ").split(",")[0]
        largest = found.get(recipe)
        if row["way"].startswith("Aisle ") and "rate" in row and (largest is None or row["rows"] > largest.products):
            cores = content["machine"]["cores_used"]
            found[recipe] = Measured(row["rate"], cores, row["rows"], row["peak_mib"])
    return found


def table(found: Mapping[str, Measured], price: float = PRICE) -> str:
    """The Markdown table: hours and money for a night in which every product is new."""
    heads = ["Products a night", "recipe", "products/s", "hours", "vCPU hours", f"a night, at {price:g}"]
    lines = [_line([*heads, f"{NIGHTS_A_MONTH} nights"]), "|---:|---|---:|---:|---:|---:|---:|"]
    lines += [
        _line([f"{products:,}", f"`{recipe}`", *_figures(found.get(recipe), products, price)])
        for products in NIGHTS
        for recipe in RECIPES
    ]
    return "\n".join(lines)


def basis(found: Mapping[str, Measured]) -> str:
    """A sentence on what the table rests on."""
    if not found:
        return f"Throughput is {NOT_MEASURED} yet: `scripts/bench bulk` writes `benchmarks/results/bulk.json`."
    said = [
        f"`{recipe}` {one.rate:,.0f} products/s with a peak of {one.peak_mib:,.0f} MiB "
        f"({one.products:,} products, {one.cores} cores)"
        for recipe, one in found.items()
    ]
    return f"Measured by `scripts/bench bulk`: {'; '.join(said)}."


def _figures(one: Measured | None, products: int, price: float) -> list[str]:
    if one is None:
        return [NOT_MEASURED, *["–"] * 4]
    hours = products / one.rate / 3600
    cost = hours * one.cores * price
    return [
        f"{one.rate:,.0f}",
        f"{hours:.2f}",
        f"{hours * one.cores:.2f}",
        f"{cost:.3f}",
        f"{cost * NIGHTS_A_MONTH:.2f}",
    ]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table at a price of the reader's."""
    parser = argparse.ArgumentParser(description="What a night costs, from benchmarks/results/bulk.json.")
    parser.add_argument("--price", type=float, default=PRICE, help="price of a vCPU hour (default %(default)s)")
    found = measured()
    print(f"{table(found, parser.parse_args().price)}\n\n{basis(found)}")


if __name__ == "__main__":
    main()
