"""What a user names as a source, as files on this machine: a file, several, a folder, a glob, https:// or s3://."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from catalogs.batches import Format, SourceFile
from core.errors import SourceCorrupt, SourceEmpty, SourceFormat, SourceMissing, did_you_mean

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec

__all__ = ["SourceFile", "resolve"]

_FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_KNOWN = "jsonl, ndjson, json, csv, tsv (each also with .gz) and parquet"
_GZIP = b"\x1f\x8b"
# First bytes of what is not read -> what it is, and how to mend it.
_FOREIGN = {
    b"PK\x03\x04": ("a ZIP archive or an Excel workbook", "unpack it, or save the sheet as CSV"),
    b"\x28\xb5\x2f\xfd": ("compressed with Zstandard", "unpack it with zstd -d"),
    b"BZh": ("compressed with bzip2", "unpack it with bunzip2"),
    b"\xfd7zXZ": ("compressed with xz", "unpack it with unxz"),
    b"\x89PNG": ("a PNG image", "export the products as CSV or JSON lines"),
    b"\xff\xd8\xff": ("a JPEG image", "export the products as CSV or JSON lines"),
    b"%PDF": ("a PDF document", "export the products as CSV or JSON lines"),
}


def resolve(source: str | Sequence[str], spec: CatalogSpec, staging: Path) -> list[SourceFile]:
    """The files that a source means: several in the order given, those of a folder or glob sorted by name.

    Args:
        source: a path, folder, glob, https:// or s3:// address, or several of them. Hidden files and those that begin
            with an underscore are left out of folders, and so are empty ones and ones of an unknown kind.
        spec: the catalogue, which may declare the format.
        staging: an existing folder that remote files are streamed to; the caller clears it.

    Raises:
        SourceMissing: nothing there.
        SourceUnreachable: a remote address that does not answer.
        SourceEmpty: a file of no bytes.
        SourceFormat: a file of a kind that is not read.
        DiskFull: no room for a remote file.
    """
    files: list[SourceFile] = []
    for name in [source] if isinstance(source, str) else source:
        for path, shown, suffix_of in _located(name, spec, staging):
            files.append(_identified(path, shown, suffix_of, spec))
    if not files:
        raise SourceMissing("no source was named", hint="name a file, a folder, a glob or an address")
    return list({file.path.resolve(): file for file in files}.values())


def _located(name: str, spec: CatalogSpec, staging: Path) -> Iterator[tuple[Path, str, str]]:
    """Files behind one name: where it lies, what it is called, and the name whose suffix tells its format."""
    if "://" in name:
        from catalogs.remote import stage

        yield from stage(name, staging, wanted=lambda key: _wanted(key, spec))
        return
    path = Path(name).expanduser()
    if path.is_dir():
        found = sorted(
            entry for entry in path.rglob("*") if entry.is_file() and _wanted(str(entry.relative_to(path)), spec)
        )
        found = [entry for entry in found if entry.stat().st_size] or found
        if not found:
            hint = f"files to be read end in {_KNOWN}"
            raise SourceMissing("the folder holds no file that can be read", where=name, hint=hint)
        yield from ((entry, str(entry), entry.name) for entry in found)
    elif path.exists():
        yield path, name, path.name
    elif glob.has_magic(name):
        found_names = glob.glob(str(path), recursive=True)  # noqa: PTH207  (Path.glob takes no absolute pattern)
        matches = sorted(match for match in found_names if Path(match).is_file())
        if not matches:
            raise SourceMissing("no file matches", where=name, hint="check the pattern, and quote it for the shell")
        yield from ((Path(match), match, match) for match in matches)
    else:
        raise SourceMissing("no such file", where=name, hint=_near(path))


def _wanted(relative: str, spec: CatalogSpec) -> bool:
    """Whether a file inside a folder is meant: no hidden part, no _SUCCESS, and of a known kind."""
    parts = PurePosixPath(relative).parts
    if any(part.startswith((".", "_")) for part in parts):
        return False
    return spec.source.format is not None or _format_of(relative) is not None


def _format_of(name: str) -> Format | None:
    return _FORMATS.get(PurePosixPath(name.lower().removesuffix(".gz")).suffix)


def _identified(path: Path, shown: str, suffix_of: str, spec: CatalogSpec) -> SourceFile:
    """The file with its format, checked against its first bytes."""
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
    except OSError as error:
        hint = "check that you may read it"
        raise SourceMissing(f"cannot be read: {error.strerror or error}", where=shown, hint=hint) from error
    if not start:
        raise SourceEmpty("the file is empty", where=shown, hint="check what wrote it")
    kind = spec.source.format or _format_of(suffix_of)
    if kind is None:
        hint = f"known are {_KNOWN}; for another name, set format under [source] in the catalogue's TOML"
        raise SourceFormat("its name does not say how it is written", where=shown, hint=hint)
    for magic, (what, hint) in _FOREIGN.items():
        if start.startswith(magic):
            raise SourceFormat(f"it is {what}", where=shown, hint=hint)
    is_parquet, compressed = start.startswith(b"PAR1"), start.startswith(_GZIP)
    if is_parquet != (kind == "parquet"):
        told = "the catalogue declares" if spec.source.format else "its name says"
        text = f"{told} {kind}, but it {'is' if is_parquet else 'is not'} Parquet"
        raise SourceFormat(text, where=shown, hint="name the file after its format")
    if suffix_of.lower().endswith(".gz") and not compressed:
        hint = "fetch or write it again, or take .gz off its name if it is plain text"
        raise SourceCorrupt("its name says gzip, but it does not begin like gzip", where=shown, hint=hint)
    return SourceFile(path, shown, kind, compressed)


def _near(path: Path) -> str:
    """A hint naming files beside the missing one."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent} either"
    return did_you_mean(path.name, (entry.name for entry in path.parent.iterdir()))
