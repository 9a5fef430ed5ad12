"""Reading a source whole, for tests of what readers promise."""

from __future__ import annotations

import json

import polars as pl
import pytest

from catalogs.readers import read
from catalogs.sources import resolve
from catalogs.spec import CatalogSpec

SHOP = CatalogSpec.model_validate(
    {
        "name": "shop",
        "title": "A shop",
        "id": "sku",
        "label": {"column": "aisle"},
        "fields": [
            {"name": "title", "kind": "text"},
            {"name": "brand", "kind": "keyword"},
            {"name": "related", "kind": "ids"},
            {"name": "price", "kind": "number"},
        ],
    }
)
PLAIN = SHOP.model_copy(update={"id": None})


class Read:
    """All batches of one source, put together."""

    def __init__(self, source, spec=SHOP, *, batch_rows=1000, staging=None, **options):
        path = source if isinstance(source, list) else str(source)
        files = resolve(path, spec, staging)
        self.batches = [batch for file in files for batch in read(file, spec, batch_rows, **options)]
        self.frame = pl.concat(batch.frame for batch in self.batches)
        self.rejects = pl.concat(batch.rejects for batch in self.batches)
        self.read = sum(batch.read for batch in self.batches)
        assert self.read == self.frame.height + self.rejects.height
        assert all(self.rejects["reasons"].list.len() > 0)

    @property
    def reasons(self):
        return {row: reasons[0] for row, _, reasons in self.rejects.iter_rows()}


def lines(*records):
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def refused(kind, source, spec=SHOP, **options):
    with pytest.raises(kind) as caught:
        Read(source, spec, **options)
    assert caught.value.where, "an error says where"
    assert caught.value.hint, "an error says what to do"
    return caught.value
