"""Canonical products for tests of the classifier: the generated shop, and the real sets beside the project."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

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


@lru_cache(maxsize=2)
def shop(rows: int = 3_000) -> tuple[CatalogSpec, pl.DataFrame]:
    """Products of the generated shop, with every kind of field."""
    with TemporaryDirectory() as folder:
        return products("demo", demo.generate(Path(folder), rows=rows, seed=7))


def plain(labels: int) -> Tree:
    """So many plain labels."""
    return Tree([[f"label {number:03d}"] for number in range(labels)])
