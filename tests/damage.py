"""Labels that are wrong: what an upstream system does to a file on a bad day."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path


def shuffle_labels(source: Path, target: Path, seed: int = 0) -> Path:
    """Write a copy of a demo file in which every label stands at another product, at random."""
    products = [product for line in gzip.decompress(source.read_bytes()).splitlines() if (product := _product(line))]
    labels = [product["category"] for product in products]
    random.Random(seed).shuffle(labels)
    damaged = [product | {"category": label} for product, label in zip(products, labels, strict=True)]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.compress("\n".join(json.dumps(product) for product in damaged).encode()))
    return target


def _product(line: bytes) -> dict[str, str | None] | None:
    try:
        product: dict[str, str | None] = json.loads(line)
    except ValueError:
        return None
    return product
