"""SQL text: literals, identifiers, the selects behind a table, and the statements in warehouse/sql/."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from typing import Any

import polars as pl

from warehouse import columns

_PIECES = ("accepted_depth", "known_answers")
"""Files of warehouse/sql/ that others take in where they say /*name*/."""

_SQL_TYPES = {
    pl.String: "VARCHAR",
    pl.Int64: "BIGINT",
    pl.Float64: "DOUBLE",
    pl.Boolean: "BOOLEAN",
}


def select(files: Iterable[str], kind: str, catalog: str | None = None) -> str:
    """SQL that reads Parquet files as a table of that kind; a typed empty select where there is none."""
    named = "" if catalog is None else f"{quoted(catalog)} AS catalog, "
    listed = ", ".join(quoted(file) for file in files)
    typed = ", ".join(f"NULL::{sql_type(dtype)} AS {name}" for name, dtype in columns.COLUMNS[kind].items())
    shape = f"SELECT {typed} WHERE false"
    if listed:  # files of an earlier version may lack a column that there is now
        shape += f" UNION ALL BY NAME SELECT * FROM read_parquet([{listed}], union_by_name = true)"
    return f"SELECT {named}* FROM ({shape})"


def sql_type(dtype: Any) -> str:
    """DuckDB's name of a Polars type."""
    if isinstance(dtype, pl.List):
        return f"{sql_type(dtype.inner)}[]"
    if isinstance(dtype, pl.Struct):
        return "STRUCT(" + ", ".join(f'"{f.name}" {sql_type(f.dtype)}' for f in dtype.fields) + ")"
    if isinstance(dtype, pl.Datetime):
        return "TIMESTAMPTZ"
    return _SQL_TYPES[dtype]


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def column(name: str) -> str:
    """A SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def statement(name: str) -> str:
    """The text of warehouse/sql/<name>.sql."""
    return _text("sql", name)


def view(name: str) -> str:
    """The text of warehouse/views/<name>.sql."""
    return _text("views", name)


def _text(folder: str, name: str) -> str:
    text = _file(folder, name)
    for piece in _PIECES:
        if (mark := f"/*{piece}*/") in text:
            text = text.replace(mark, _file("sql", piece).strip())
    return text


def _file(folder: str, name: str) -> str:
    return resources.files("warehouse").joinpath(folder, f"{name}.sql").read_text(encoding="utf-8")
