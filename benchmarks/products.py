"""Files of products for the benchmarks: in the shape of Amazon's where the tool for it lies beside the project."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from catalogs.spec import CatalogSpec

__all__ = ["SHARED", "Columns", "Source", "canonical", "make", "records"]

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
"""Real data and tools beside the project; the project works without."""

_SHAPED = SHARED / "tools" / "amazon_shaped.py"


@dataclass(frozen=True)
class Columns:
    """What a rival reads of a record: the columns of the catalogue's fields, by kind, and of its label."""

    text: list[str]
    keyword: list[str]
    ids: list[str]
    number: list[str]
    label: str

    @classmethod
    def of(cls, spec: CatalogSpec) -> Columns:
        """Those that the catalogue's own model reads."""
        by_kind = {
            kind: [f.column for f in spec.fields if f.kind == kind] for kind in ("text", "keyword", "ids", "number")
        }
        return cls(**by_kind, label=spec.label.source_columns[0])

    def text_of(self, record: Mapping[str, Any]) -> str:
        """All text of a record as one."""
        return " ".join(filter(None, (as_text(record.get(column)) for column in self.text)))


@dataclass(frozen=True)
class Source:
    """A generated file.

    Attributes:
        path: JSON lines, not compressed.
        catalog: the catalogue that it belongs to.
        rows: lines.
        maker: what made it, for the result.
    """

    path: Path
    catalog: str
    rows: int
    maker: str

    @property
    def columns(self) -> dict[str, Any]:
        """What a rival reads of it, as arguments of a job."""
        from catalogs import registry

        return asdict(Columns.of(registry.load(self.catalog)))


def make(folder: Path, rows: int, seed: int) -> Source:
    """Write `rows` products, not compressed; other seeds write other products of the same kind."""
    path = folder / f"products-{rows}-{seed}.jsonl"
    if _SHAPED.is_file():
        command = [sys.executable, str(_SHAPED), "--rows", str(rows), "--seed", str(seed), "--out", str(path)]
        subprocess.run(command, check=True, capture_output=True)
        return Source(
            path, "amazon", rows, "products in the shape of the Amazon 2018 set, made of real listings' words"
        )
    from catalogs import demo

    packed = demo.generate(folder / f"demo-{rows}-{seed}", rows=rows, seed=seed)
    with gzip.open(packed) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)
    return Source(path, "demo", rows, "the project's own demo shop, whose products are shorter than Amazon's")


def records(path: Path, most: int | None = None) -> Iterator[dict[str, Any]]:
    """Every object of a file of JSON lines, read the plain way; lines that are none are passed over."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines):
            if number == most:
                return
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record


def as_text(value: Any) -> str:
    """A value as text; entries of a list are joined."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def canonical(source: Path, catalog: str, columns: Sequence[str] | None = None) -> tuple[CatalogSpec, pl.DataFrame]:
    """The good, labelled rows of a file as an ingest would store them: in memory, without a warehouse."""
    import tempfile

    import polars as pl

    from catalogs import readers, registry, sources
    from catalogs.normalise import normalise
    from expectations.decide import decide

    spec = registry.load(catalog)
    frames = []
    with tempfile.TemporaryDirectory() as staging:
        for file in sources.resolve(str(source), spec, Path(staging)):
            for batch in readers.read(file, spec):
                good = decide(normalise(batch.frame, spec, file.name), spec).good
                frames.append(good.filter(pl.col("known_path").is_not_null()))
    frame = pl.concat(frames)
    return spec, frame if columns is None else frame.select(columns)
