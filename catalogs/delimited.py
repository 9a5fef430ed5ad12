"""CSV and TSV through Python's csv module, keeping each record's raw text and the line where it starts.

Quotes are read as pandas, Polars and DuckDB do by default: doubled inside a quoted cell, plain characters elsewhere.
A record may run over several lines only if its quotes then fit strictly; a quote that is opened and never closed
costs its own line, not the rest of the file.
"""

from __future__ import annotations

import ast
import csv
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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
from catalogs.control import CONTROL
from catalogs.lines import Block, blocks, decode_lines
from catalogs.product import RAW, SOURCE_ROW
from catalogs.values import as_texts
from core.errors import SourceEmpty, SourceEncoding, SourceFormat
from core.settings import get_settings

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec

__all__ = ["batches"]

# A quoted cell with more lines than this is taken for a quote that was never closed.
MOST_LINES_OF_A_RECORD = 1_000

_SEPARATORS = {"csv": ",", "tsv": "\t"}
_CONTROL = re.compile(CONTROL)
_NOT_DELIMITED = {"{": "JSON", "[{": "JSON", "[\n": "JSON", "<": "HTML or XML"}


def batches(file: SourceFile, spec: CatalogSpec, batch_rows: int, *, need_label: bool) -> Iterator[RawBatch]:
    """Batches of one file, whose first line names the columns.

    Raises:
        SourceEmpty: not even a header.
        SourceFormat: the first line is no header.
        SourceEncoding: it is not UTF-8.
        ColumnMissing: the header lacks a required column, or has a label column by a mistyped name.
        SourceMissing, SourceCorrupt, SourceEncoding: as `lines.blocks`.
    """
    csv.field_size_limit(sys.maxsize)  # lines are already cut at AISLE_MAX_LINE_MIB
    most = get_settings().max_line_mib << 20
    separator = spec.source.separator or _SEPARATORS[file.format]
    source = blocks(file.path, file.name, compressed=file.compressed, most_lines=batch_rows, most_line_bytes=most)
    header: list[str] | None = None
    unlabelled: tuple[str, ...] = ()
    window: _Window | None = None
    for block, final in _with_last(source):
        window = _Window.of(block, window, separator)
        if header is None:
            header = _header(window, file.name)
            required = required_columns(spec, need_label=need_label)
            _refuse_twice(header, spec.source_columns, file.name)
            refuse_missing(header, required, file.name, place=f"header{_other_separator(header, separator)}")
            unlabelled = missing_labels(header, spec, file.name, place="header")
        rejects = Rejects()
        for position, head in block.too_long.items():
            rejects.add_too_long(block.first + position, head, most)
        found = _records(window, len(header), rejects, final=final)
        yield rejects.batch(_frame(found, header, spec), unlabelled)


@dataclass
class _Found:
    """Records that can be read."""

    rows: list[int] = field(default_factory=list)
    raws: list[str] = field(default_factory=list)
    cells: list[list[str]] = field(default_factory=list)


@dataclass
class _Window:
    """Lines under the reader: those of one block, after what the last one left over.

    Attributes:
        first: number of the first line.
        texts: lines, each with its line end.
        bad: position -> bytes of those that are not UTF-8.
        done: position of the first line not read yet.
    """

    first: int
    texts: list[str]
    bad: dict[int, bytes]
    separator: str
    done: int = 0

    @classmethod
    def of(cls, block: Block, before: _Window | None, separator: str) -> _Window:
        decoded, odd = decode_lines(block.lines)
        texts = [f"{text}\n" for text in decoded]
        bad = {position: block.lines[position] for position in odd}
        if before is None or before.done == len(before.texts):
            return cls(block.first, texts, bad, separator)
        left, start = before.texts[before.done :], before.done
        bad = {position + len(left): line for position, line in bad.items()}
        bad |= {position - start: line for position, line in before.bad.items() if position >= start}
        return cls(before.first + start, left + texts, bad, separator)

    def feed(self) -> Iterator[str]:
        """Lines from `done` on, ending early when the current record has become too long."""
        for position in range(self.done, len(self.texts)):
            if position - self.done >= MOST_LINES_OF_A_RECORD:
                return
            yield self.texts[position]

    def quotes(self, end: int) -> str:
        """How the quotes of the lines from `done` to `end` stand: "closed", "open" or "stray"."""
        try:
            for _ in csv.reader(self.texts[self.done : end], delimiter=self.separator, strict=True):
                pass
        except csv.Error as error:
            return "open" if "end of data" in str(error) else "stray"
        return "closed"


def _records(window: _Window, width: int, rejects: Rejects, *, final: bool) -> _Found:
    """Reads the window, leaving an unfinished last record to the next one unless it is final."""
    found = _Found()
    while window.done < len(window.texts):
        base = window.done
        reader = csv.reader(window.feed(), delimiter=window.separator)
        for cells in reader:
            end = base + reader.line_num
            if end - window.done > 1 or end == len(window.texts):
                quotes = window.quotes(end)
                if quotes == "open" and not final and end == len(window.texts):
                    return found
                if quotes == "open" or (end - window.done > 1 and (quotes == "stray" or len(cells) != width)):
                    _reject(window, window.done + 1, rejects, "a quote is opened and never closed")
                    break  # and read on from the line after
            if len(cells) == width and not window.bad:
                found.rows.append(window.first + window.done)
                found.raws.append("".join(window.texts[window.done : end]))
                found.cells.append(cells)
                window.done = end
            else:
                _take_odd(window, end, cells, width, found, rejects)
    return found


def _take_odd(window: _Window, end: int, cells: list[str], width: int, found: _Found, rejects: Rejects) -> None:
    """One record that may be blank, not UTF-8 or of another width."""
    if not cells or (width > 1 and len(cells) == 1 and not cells[0].strip()):
        window.done = end
    elif len(cells) != width or not window.bad.keys().isdisjoint(range(window.done, end)):
        _reject(window, end, rejects, f"{len(cells)} cells where the header has {width}")
    else:
        found.rows.append(window.first + window.done)
        found.raws.append("".join(window.texts[window.done : end]))
        found.cells.append(cells)
        window.done = end


def _reject(window: _Window, end: int, rejects: Rejects, reason: str) -> None:
    row, span = window.first + window.done, range(window.done, end)
    if window.bad.keys().isdisjoint(span):
        rejects.add_malformed(row, "".join(window.texts[window.done : end]).removesuffix("\n"), reason)
    else:
        lines = (window.bad.get(position) or window.texts[position].removesuffix("\n").encode() for position in span)
        rejects.add_undecoded(row, b"\n".join(lines))
    window.done = end


def _frame(found: _Found, header: list[str], spec: CatalogSpec) -> pl.DataFrame:
    columns = list(zip(*found.cells, strict=True)) if found.cells else [()] * len(header)
    lists, series = set(spec.list_columns), []
    for column in spec.source_columns:
        values: Sequence[str | None] = columns[header.index(column)] if column in header else [None] * len(found.rows)
        if column in lists:
            of_label = column == spec.label.list_column
            separator = spec.label.separator if of_label else spec.source.list_separator
            entries = [_entries(value, separator) for value in values]
            series.append(pl.Series(column, entries, dtype=pl.List(pl.String)))
        else:
            series.append(pl.Series(column, values, dtype=pl.String))
    raw = pl.Series(RAW, found.raws, dtype=pl.String).str.strip_suffix("\n")
    return pl.DataFrame([pl.Series(SOURCE_ROW, found.rows, dtype=pl.Int64), raw, *series], schema=raw_schema(spec))


def _entries(cell: str | None, separator: str) -> list[str] | None:
    """A list written in one cell: JSON, Python's own notation (what pandas writes), or split at the separator."""
    if cell is None:
        return None
    if cell.startswith("["):
        for parse in (orjson.loads, ast.literal_eval):
            try:
                return as_texts(parse(cell))
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
    return cell.split(separator)


def _header(window: _Window, name: str) -> list[str]:
    """The first record's cells without the spaces around them; leaves the window after it."""
    start = next((position for position, text in enumerate(window.texts) if text.strip()), None)
    if start is None:
        raise SourceEmpty("no rows in it", where=name, hint="check what wrote the file")
    window.done, first = start, window.texts[start].lstrip()
    if kind := _NOT_DELIMITED.get(first[:1]) or _NOT_DELIMITED.get(first[:2]):
        hint = "name the file after its format, or declare it with format under [source] in the catalogue's TOML"
        raise SourceFormat(f"not a table of cells: it begins like {kind}", where=name, hint=hint)
    if "\r" in first.rstrip():
        raise SourceFormat("its lines end in carriage returns alone", where=name, hint="tr '\\r' '\\n' mends it")
    reader = csv.reader(window.feed(), delimiter=window.separator)
    header = [cell.strip() for cell in next(reader, [])]
    window.done = start + reader.line_num
    for position in range(start, window.done):
        _refuse_bytes(window.bad.get(position), window.texts[position], f"{name}, line {window.first + position}")
    return header


def _refuse_bytes(undecoded: bytes | None, text: str, where: str) -> None:
    """Refuse a line of the header that no table of cells can have."""
    if undecoded is not None:
        hint = "save the table as UTF-8, for example: iconv -f LATIN1 -t UTF-8; check that it is a table at all"
        raise SourceEncoding("the header is not UTF-8", where=where, hint=hint)
    if _CONTROL.search(text):
        hint = "check that the file is what its name says"
        raise SourceFormat("the header holds control characters: not a table of cells", where=where, hint=hint)


def _refuse_twice(header: list[str], columns: list[str], name: str) -> None:
    twice = [column for column in columns if header.count(column) > 1]
    if twice:
        text = f"column '{twice[0]}' stands {header.count(twice[0])} times in the header"
        raise SourceFormat(text, where=f"{name}, line 1", hint="rename the other one")


def _other_separator(header: list[str], separator: str) -> str:
    """A note for the error when the header looks as if another separator parted it."""
    if len(header) == 1:
        for other, word in (("\t", "tabs"), (",", "commas"), (";", "semicolons"), ("|", "bars")):
            if other != separator and other in header[0]:
                return f" (it is one cell that holds {word}: is the file separated by those?)"
    return ""


def _with_last(source: Iterator[Block]) -> Iterator[tuple[Block, bool]]:
    """Each block, and whether it is the last."""
    previous: Block | None = None
    for block in source:
        if previous is not None:
            yield previous, False
        previous = block
    if previous is not None:
        yield previous, True
