"""Canonical products for tests of the classifier: the generated shop, and the real sets beside the project."""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from catalogs import demo, readers, registry, sources
from catalogs.normalise import normalise
from catalogs.spec import CatalogSpec
from classifier.tree import Tree
from expectations.decide import decide


def products(catalog: str, path: Path) -> tuple[CatalogSpec, pl.DataFrame]:
    """The good rows of a file, read, normalised and decided as an ingest does it."""
    spec = registry.load(catalog)
    with TemporaryDirectory() as staging:
        frames = [
            decide(normalise(batch.frame, spec, file.name), spec).good
            for file in sources.resolve(str(path), spec, Path(staging))
            for batch in readers.read(file, spec, 50_000)
        ]
    return spec, pl.concat(frames)


def records(path: Path) -> list[dict[str, Any]]:
    """The generated shop's products as they stand in a file, gzipped or not, without its broken lines; of a repeated id
    the last one, as it is stored."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    found = {}
    for line in text.splitlines():
        try:
            product = json.loads(line)
        except ValueError:
            continue
        if isinstance(product, dict) and isinstance(product.get("id"), str):
            found[product["id"]] = product
    return list(found.values())


@lru_cache(maxsize=2)
def shop(rows: int = 3_000) -> tuple[CatalogSpec, pl.DataFrame]:
    """Products of the generated shop, with every kind of field."""
    with TemporaryDirectory() as folder:
        return products("demo", demo.generate(Path(folder), rows=rows, seed=7))


def plain(labels: int) -> Tree:
    """So many plain labels."""
    return Tree([[f"label {number:03d}"] for number in range(labels)])
