"""JSON lines: Polars decodes whole slices, and only the odd lines of a slice that it refuses go through Python."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import polars as pl

from catalogs.batches import (
    RawBatch,
    Rejects,
    SourceFile,
    missing_labels,
    raw_schema,
    refuse_missing,
    required_columns,
)
from catalogs.known_lines import KNOWN, LINES
from catalogs.lines import Block, blocks
from catalogs.product import RAW, SOURCE_ROW
from catalogs.values import as_texts, encodable
from core.errors import SourceFormat
from core.settings import get_settings

if TYPE_CHECKING:
    from catalogs.known_lines import KnownLines
    from catalogs.spec import CatalogSpec

__all__ = ["as_declared", "batches", "frame_of_records"]

# Rows that are decoded at once. A slice with an odd line costs about three times as much, so slices are small.
SLICE_ROWS = 2_000
# Lines at the start of a file that are read even if they are known: they show what the file is.
FIRST_LINES = 10_000
# Lines of the first batch whose keys are looked at when a required column has no value in it.
LINES_SEARCHED_FOR_KEYS = 1_000

_TEXTS = pl.List(pl.String)
_LINE_KEY = secrets.token_hex(8)
_SCALARS = (str, int, float, bool, type(None))


def batches(
    file: SourceFile, spec: CatalogSpec, batch_rows: int, *, need_label: bool, known: KnownLines | None = None
) -> Iterator[RawBatch]:
    """Batches of one file. Lines that are `known` are not read, but for those of the first batch (FIRST_LINES).

    Raises:
        SourceFormat: one JSON array instead of lines.
        ColumnMissing: no line has a required column, or none has a label column but some have it by a mistyped name.
        SourceMissing, SourceCorrupt, SourceEncoding: as `lines.blocks`.
    """
    most = get_settings().max_line_mib << 20
    first = batch_rows if known is None else FIRST_LINES
    source = blocks(
        file.path,
        file.name,
        compressed=file.compressed,
        most_lines=batch_rows,
        most_line_bytes=most,
        first_lines=first,
    )
    labels, required = spec.label.source_columns, required_columns(spec, need_label=need_label)
    unseen = {*required, *labels}
    keys: set[str] = set()
    for number, block in enumerate(source):
        if number == 0:
            _refuse_array(block, file.name)
        trusted = known is not None and number > 0 and unseen <= ({*labels} if known.first else set())
        keys |= _keys(block) if unseen else set()
        digests = None if known is None else known.look_up(block.lines)
        stored = _taken_out(block, digests) if trusted and digests is not None else None
        batch = _read_block(block, spec, most, digests)
        if unseen:
            unseen = {column for column in unseen if batch.frame[column].null_count() == batch.frame.height}
            if stored is not None and (stored["line_b"] & 1 == 1).any():
                unseen -= {*labels}
            if number == 0 and batch.frame.height:  # labels may come late in a file, ids and texts do not
                refuse_missing(keys, sorted(unseen.difference(labels)), file.name, place="JSON objects")
        unlabelled = tuple(column for column in labels if column in unseen and column not in keys)
        batch = replace(batch, unlabelled=unlabelled)
        yield batch if stored is None else replace(batch, read=batch.read + stored.height, known=stored)
    if unseen and keys:
        refuse_missing(keys, sorted(unseen.intersection(required)), file.name, place="JSON objects")
        missing_labels({*spec.source_columns} - unseen | keys, spec, file.name, place="JSON objects")


def frame_of_records(records: Sequence[Mapping[str, Any]], raw: pl.Series, columns: Sequence[str]) -> pl.DataFrame:
    """Columns of parsed JSON objects as lists of texts.

    Args:
        records: the objects.
        raw: the same as lines of JSON: decoding those is several times as fast as asking each object for each key.
        columns: keys to take.
    """
    decoded = _decode(raw, columns)
    return _frame_in_python(records, columns) if decoded is None else decoded


def _frame_in_python(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pl.DataFrame:
    made = []
    for column in columns:
        texts = [as_texts(record.get(column)) for record in records]
        try:
            made.append(pl.Series(column, texts, dtype=_TEXTS))
        except UnicodeEncodeError:
            clean = [None if entry is None else [encodable(text) for text in entry] for entry in texts]
            made.append(pl.Series(column, clean, dtype=_TEXTS))
    return pl.DataFrame(made)


def _taken_out(block: Block, digests: pl.DataFrame) -> pl.DataFrame:
    """The lines that are known, as LINES; in the block they are empty now, as if they were not there."""
    if not digests[KNOWN].any():
        return pl.DataFrame(schema=LINES)
    rows = pl.int_range(block.first, block.first + len(block.lines), dtype=pl.Int64, eager=True).alias(SOURCE_ROW)
    for position in digests[KNOWN].arg_true():
        block.lines[position] = b""
    return digests.with_columns(rows).filter(KNOWN).select(*LINES)


def _read_block(block: Block, spec: CatalogSpec, most_line_bytes: int, digests: pl.DataFrame | None) -> RawBatch:
    rejects = Rejects()
    for position, head in block.too_long.items():
        rejects.add_too_long(block.first + position, head, most_line_bytes)
    lines = pl.DataFrame(
        {
            SOURCE_ROW: pl.int_range(block.first, block.first + len(block.lines), dtype=pl.Int64, eager=True),
            RAW: _texts(block, rejects),
        }
    )
    if digests is not None:
        lines = lines.hstack(digests.drop(KNOWN))
    lines = lines.filter(pl.col(RAW).is_not_null() & (pl.col(RAW).str.strip_chars() != ""))
    slices = [_read_slice(part, spec, rejects) for part in lines.iter_slices(SLICE_ROWS)]
    frame = as_declared(pl.concat(slices), spec) if slices else pl.DataFrame(schema=raw_schema(spec))
    return rejects.batch(frame)


def _texts(block: Block, rejects: Rejects) -> pl.Series:
    """The block's lines as text; null, and a reject, where a line is not UTF-8."""
    lines = pl.Series(RAW, block.lines, dtype=pl.Binary)
    try:
        return lines.cast(pl.String)
    except pl.exceptions.ComputeError:
        pass
    texts: list[str | None] = []
    for position, line in enumerate(block.lines):
        try:
            texts.append(line.decode())
        except UnicodeDecodeError:
            texts.append(None)
            rejects.add_undecoded(block.first + position, line)
    return pl.Series(RAW, texts, dtype=pl.String)


def _read_slice(lines: pl.DataFrame, spec: CatalogSpec, rejects: Rejects) -> pl.DataFrame:
    columns = spec.source_columns
    if (decoded := _decode(lines[RAW], columns)) is not None:
        return lines.hstack(decoded)
    ordinary, odd, records = [], [], []
    for position, (row, raw) in enumerate(lines.select(SOURCE_ROW, RAW).iter_rows()):
        record, problem, strict = _parse(raw)
        if problem is not None:
            rejects.add_malformed(row, raw, problem)
        elif strict and _is_ordinary(record, columns):
            ordinary.append(position)
        else:
            odd.append(position)
            records.append(record)
    if (decoded := _decode(lines[ordinary][RAW], columns)) is None:  # the two parsers disagree: Python has the say
        odd = sorted(ordinary + odd)
        records = [_parse(raw).record for raw in lines[odd][RAW]]
        ordinary, decoded = [], pl.DataFrame(schema=dict.fromkeys(columns, _TEXTS))
    made = pl.concat([lines[ordinary].hstack(decoded), lines[odd].hstack(_frame_in_python(records, columns))])
    return made.sort(SOURCE_ROW)


def _decode(raw: pl.Series, columns: Sequence[str]) -> pl.DataFrame | None:
    """Objects as one list of texts a column, or None when any line is not an object or holds a nested value.

    Polars is strict here: a single value becomes a list of one, and whatever would be lost or altered is an error. But
    it decodes all lines as one array, in which a line with two objects makes two rows and two halves of one make one.
    So each line stands under a key that no file can know: half lines change the number of rows, and second objects
    lack the key.
    """
    kind = pl.Struct({_LINE_KEY: pl.Struct(dict.fromkeys(columns, _TEXTS))})
    try:
        decoded = pl.select(pl.format(f'{{{{"{_LINE_KEY}":{{}}}}}}', raw)).to_series().str.json_decode(kind)
    except pl.exceptions.PolarsError:
        return None
    rows = decoded.struct.field(_LINE_KEY)
    return rows.struct.unnest() if len(rows) == len(raw) and not rows.null_count() else None


class _Parsed(NamedTuple):
    """What a line holds: an object, or why there is none. `strict` where it is JSON by the letter."""

    record: dict[str, Any]
    problem: str | None
    strict: bool


def _parse(raw: str) -> _Parsed:
    """Takes also what Python's json writes (NaN), and raw control characters."""
    strict = True
    try:
        record = orjson.loads(raw)
    except orjson.JSONDecodeError:
        strict = False
        try:
            record = json.loads(raw, strict=False)
        except json.JSONDecodeError as error:
            what = error.msg.removesuffix(" at")  # some of Python's messages end so, to go on with the place
            return _Parsed({}, f"not valid JSON: {what} at column {error.colno}", strict)
        except (RecursionError, ValueError) as error:
            return _Parsed({}, f"not valid JSON: {error}", strict)
    if isinstance(record, dict):
        return _Parsed(record, None, strict)
    return _Parsed({}, f"not a JSON object but {_KINDS.get(type(record), 'a number')}", strict)


_KINDS = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}


def _is_ordinary(record: dict[str, Any], columns: list[str]) -> bool:
    """Whether Polars can decode these columns of the record."""
    for column in columns:
        value = record.get(column)
        for entry in value if isinstance(value, list) else (value,):
            if not isinstance(entry, _SCALARS) or (isinstance(entry, float) and not math.isfinite(entry)):
                return False
    return True


def as_declared(frame: pl.DataFrame, spec: CatalogSpec) -> pl.DataFrame:
    """Lists of texts become text where the spec asks for text, without their empty entries; lists lose their nulls."""
    lists = set(spec.list_columns)
    expressions = []
    for column in spec.source_columns:
        entries = pl.col(column)
        if column in lists:
            expressions.append(entries.map_batches(_without_nulls, return_dtype=_TEXTS))
        else:
            expressions.append(_joined(entries).alias(column))
    return frame.with_columns(expressions)


def _without_nulls(lists: pl.Series) -> pl.Series:
    # Nearly no list holds one, and making lists anew takes far longer than looking.
    entries = lists.explode(empty_as_null=False, keep_nulls=False)
    return lists.list.drop_nulls() if entries.null_count() else lists


def _joined(entries: pl.Expr) -> pl.Expr:
    # Almost every value is a single one: taking it is three times as fast as joining it.
    several = pl.when(entries.list.len() > 1).then(entries.list.eval(pl.element().filter(pl.element() != "")))
    return pl.when(entries.list.len() > 1).then(several.otherwise(None).list.join(" ")).otherwise(entries.list.first())


def _keys(block: Block) -> set[str]:
    found: set[str] = set()
    for line in block.lines[:LINES_SEARCHED_FOR_KEYS]:
        found |= _parse(line.decode(errors="replace")).record.keys()
    return found


def _refuse_array(block: Block, name: str) -> None:
    first = next((line.strip() for line in block.lines if line.strip()), b"")
    if not first.startswith(b"["):
        return
    problem = _parse(first.decode(errors="replace")).problem
    if problem == "not a JSON object but a list" and not _holds_objects(first):
        return  # one odd line among others: rejected as such
    hint = f"one object a line is needed: jq -c '.[]' {name} > lines.jsonl"
    raise SourceFormat("a JSON array, not JSON lines", where=name, hint=hint)


def _holds_objects(array: bytes) -> bool:
    return any(isinstance(entry, dict) for entry in orjson.loads(array))
