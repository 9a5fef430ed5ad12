"""Files as blocks of complete lines, in bounded memory: gzip by its magic bytes, over-long lines read past."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

from core.errors import SourceCorrupt, SourceEncoding, SourceMissing

__all__ = ["Block", "ahead", "blocks", "decode_lines"]

CHUNK_BYTES = 4 << 20
# A block ends at this many bytes even if it holds fewer lines than asked for.
MOST_BLOCK_BYTES = 64 << 20
# What is kept of a line that is too long to be a product.
KEPT_OF_LONG_LINE = 64 << 10

_Item = TypeVar("_Item")


@dataclass
class Block:
    """Consecutive lines.

    Attributes:
        first: number of the first line, 1-based.
        lines: without line ends. A line that was too long is empty here.
        too_long: position in `lines` -> the start of the line.
    """

    first: int
    lines: list[bytes] = field(default_factory=list)
    too_long: dict[int, bytes] = field(default_factory=dict)


def blocks(
    path: Path, name: str, *, compressed: bool, most_lines: int, most_line_bytes: int, first_lines: int | None = None
) -> Iterator[Block]:
    """Blocks of at most `most_lines` lines and about 64 MiB, without BOM and carriage returns.

    The first block has at most `first_lines`, where that is less.

    Raises:
        SourceMissing: the file cannot be read.
        SourceCorrupt: damaged or truncated gzip.
        SourceEncoding: UTF-16.
    """
    block, held = Block(first=1), 0
    most = min(most_lines, first_lines or most_lines)
    for lines, too_long in _split(_text_chunks(path, name, compressed=compressed), most_line_bytes):
        start = 0
        while start < len(lines):
            part = lines[start : start + most - len(block.lines)]
            for position in too_long.keys() & range(start, start + len(part)):
                block.too_long[len(block.lines) + position - start] = too_long[position]
            block.lines += part
            start += len(part)
            held += sum(map(len, part))
            if len(block.lines) == most or held >= MOST_BLOCK_BYTES:
                yield block
                most = most_lines
                block, held = Block(first=block.first + len(block.lines)), 0
    if block.lines:
        yield block


def decode_lines(lines: list[bytes]) -> tuple[list[str], set[int]]:
    """Lines as text, and the positions of those that are not UTF-8 (their odd bytes become lone surrogates)."""
    try:
        return [line.decode() for line in lines], set()
    except UnicodeDecodeError:
        pass
    texts, bad = [], set()
    for position, line in enumerate(lines):
        try:
            texts.append(line.decode())
        except UnicodeDecodeError:
            texts.append(line.decode(errors="surrogateescape"))
            bad.add(position)
    return texts, bad


def ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """The same items, the next one made in a thread while the current one is worked on."""
    end, here = object(), copy_context()  # the settings in force here are in force in the thread
    with ThreadPoolExecutor(1, thread_name_prefix="aisle-read") as pool:
        future = pool.submit(here.run, lambda: next(items, end))
        while (item := future.result()) is not end:
            future = pool.submit(here.run, lambda: next(items, end))
            yield item  # type: ignore[misc]  # never the end mark


def _split(chunks: Iterator[bytes], most_line_bytes: int) -> Iterator[tuple[list[bytes], dict[int, bytes]]]:
    """Complete lines of each chunk, and the starts of those among them that are too long."""
    tail, skipping = b"", False
    for chunk in chunks:
        lines = chunk.split(b"\n")
        too_long: dict[int, bytes] = {}
        if skipping:
            if len(lines) == 1:
                continue
            too_long[0], lines[0], skipping, tail = tail, b"", False, b""
        else:
            lines[0] = tail + lines[0]
        tail = lines.pop()
        if len(tail) > most_line_bytes:
            tail, skipping = tail[:KEPT_OF_LONG_LINE], True
        for position, line in enumerate(lines):
            if len(line) > most_line_bytes:
                too_long[position], lines[position] = line[:KEPT_OF_LONG_LINE], b""
        yield [line[:-1] if line.endswith(b"\r") else line for line in lines] if b"\r" in chunk else lines, too_long
    if skipping:
        yield [b""], {0: tail}
    elif tail:
        yield [tail], {}


def _text_chunks(path: Path, name: str, *, compressed: bool) -> Iterator[bytes]:
    """Chunks of about 4 MiB, unpacked, without a BOM."""
    try:
        with path.open("rb") as stream:
            first = True
            for chunk in _unpacked(stream, name) if compressed else _plain(stream):
                if first:
                    _refuse_utf16(chunk, name)
                    chunk = chunk.removeprefix(b"\xef\xbb\xbf")
                    first = False
                yield chunk
    except OSError as error:
        hint = "check that the file is there and that you may read it"
        raise SourceMissing(f"cannot be read: {error.strerror or error}", where=name, hint=hint) from error


def _plain(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


def _unpacked(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """Contents of all gzip members, never more than a chunk at once, whatever they unpack to."""
    unpacker, packed, done = zlib.decompressobj(wbits=31), b"", 0
    try:
        while True:
            packed = packed or stream.read(CHUNK_BYTES // 4)
            if unpacker.eof:
                packed = packed.lstrip(b"\0")  # padding after a member is allowed
                if packed:
                    unpacker = zlib.decompressobj(wbits=31)
                elif not (packed := stream.read(CHUNK_BYTES // 4)):
                    return
                continue
            if not packed:
                raise _damaged(name, done, "it ends in the middle")
            chunk = unpacker.decompress(packed, CHUNK_BYTES)
            packed = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
            done += len(chunk)
            if chunk:
                yield chunk
    except zlib.error as error:
        raise _damaged(name, done, str(error).rpartition(": ")[2]) from error


def _damaged(name: str, done: int, why: str) -> SourceCorrupt:
    hint = "fetch or write the file again; `gzip -t` checks it"
    return SourceCorrupt(f"damaged gzip after {done:,} unpacked bytes: {why}", where=name, hint=hint)


def _refuse_utf16(start: bytes, name: str) -> None:
    head = start[:4096]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or head.count(0) * 3 > len(head):
        hint = "save it as UTF-8, for example: iconv -f UTF-16 -t UTF-8"
        raise SourceEncoding("not UTF-8: it looks like UTF-16 or binary data", where=name, hint=hint)
