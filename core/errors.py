"""Every way Aisle says no, as one tree. Each error says what was wrong, where, and what to do next.

AisleError                       exit code 1
├── UsageError                   wrong options (exit code 2)
├── OutOfMemory                  more memory was needed than this process may use
├── CatalogError
│   ├── UnknownCatalog           no TOML of that name
│   └── SpecInvalid              a TOML that cannot be used: every problem, with its key
├── SourceError                  a source that cannot be read as a whole; single bad rows are rejects, not errors
│   ├── SourceMissing            no such file, or nothing matches the glob
│   ├── SourceUnreachable        an https:// or s3:// address that does not answer
│   ├── SourceEmpty              no rows in it
│   ├── SourceCorrupt            damaged gzip or Parquet
│   ├── SourceFormat             not the format its name or the catalogue declares
│   ├── SourceEncoding           not UTF-8
│   ├── SourceShrunk             a snapshot from which too much vanished
│   ├── ColumnMissing            a column that the catalogue needs is not there
│   └── LabelsInvalid            labels given by people that cannot be taken: every problem, with its line
├── TrainingError
│   ├── NotEnoughLabels          too few labelled rows to train or to hold out
│   └── OneClass                 all labels are the same
├── ModelError
│   ├── UnknownRecipe            no recipe of that name, or a parameter that it does not have
│   ├── NoChampion               nothing to predict with yet
│   ├── UnknownModel             no model version of that name
│   └── ArtifactDamaged          a model folder that fails its checks
├── RunnerError                  something about the workers that parts of a step are mapped over
│   ├── ClusterUnreachable       a Dask scheduler that does not answer, or has no worker
│   ├── WorkerDiffers            a worker with other versions than this process
│   ├── NotShared                a worker that does not see the same files as this process
│   └── WorkersLost              a part that was given up, because workers died on it
└── WarehouseError
    ├── HomeUnusable             AISLE_HOME cannot be read or written
    ├── HomeNewer                AISLE_HOME was written by a newer Aisle
    ├── RunLocked                another run of the same catalogue is under way
    ├── RunOvertaken             another run took this one's place in an S3 home
    ├── UnknownProduct           no product of that id
    ├── TableDamaged             a table whose log or files are damaged or gone
    ├── DiskFull                 no room left
    ├── NothingPublished         no warehouse.duckdb yet, or nothing recorded at the time asked for
    ├── UnknownRun               no recorded run of that id
    ├── NotKept                  a time whose files have been removed since
    └── QueryRefused             SQL that does more than read, or that fails
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class AisleError(Exception):
    """Root of the tree.

    Args:
        message: what was wrong, in one sentence.
        where: file, line, column or key that it concerns.
        hint: what to do next.
    """

    exit_code = 1

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.message = printable(message)
        self.where = None if where is None else printable(where)
        self.hint = None if hint is None else printable(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        text = self.message if self.where is None else f"{self.where}: {self.message}"
        return text if self.hint is None else f"{text}\n  hint: {self.hint}"

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (process and Dask runners); the default reduce loses keyword arguments.
        return _rebuild, (type(self), self.message, self.where, self.hint)

    def as_dict(self) -> dict[str, str | None]:
        """The error for machines: name, message, where, hint."""
        return {"error": type(self).__name__, "message": self.message, "where": self.where, "hint": self.hint}


def _rebuild(kind: type[AisleError], message: str, where: str | None, hint: str | None) -> AisleError:
    return kind(message, where=where, hint=hint)


class UsageError(AisleError):
    """Wrong options."""

    exit_code = 2


class OutOfMemory(AisleError):
    """More memory was needed than this process may use."""


class CatalogError(AisleError):
    """Something about a catalogue's declaration."""


class UnknownCatalog(CatalogError):
    """No TOML of that name."""


class SpecInvalid(CatalogError):
    """A TOML that cannot be used."""


class SourceError(AisleError):
    """A source that cannot be read as a whole."""


class SourceMissing(SourceError):
    """No such file, or nothing matches."""


class SourceUnreachable(SourceError):
    """A remote address that does not answer."""


class SourceEmpty(SourceError):
    """No rows in it."""


class SourceCorrupt(SourceError):
    """Damaged gzip or Parquet."""


class SourceFormat(SourceError):
    """Not the declared format."""


class SourceEncoding(SourceError):
    """Not UTF-8."""


class SourceShrunk(SourceError):
    """A snapshot from which more vanished than the catalogue allows."""


class ColumnMissing(SourceError):
    """A column that the catalogue needs is not in the source."""


class LabelsInvalid(SourceError):
    """Labels given by people that cannot be taken."""


class TrainingError(AisleError):
    """Nothing can be trained from these rows."""


class NotEnoughLabels(TrainingError):
    """Too few labelled rows."""


class OneClass(TrainingError):
    """All labels are the same."""


class ModelError(AisleError):
    """Something about a model."""


class UnknownRecipe(ModelError):
    """No recipe of that name, or no such parameter."""


class NoChampion(ModelError):
    """Nothing to predict with yet."""


class UnknownModel(ModelError):
    """No model version of that name."""


class ArtifactDamaged(ModelError):
    """A model folder that fails its checks."""


class RunnerError(AisleError):
    """Something about the workers that parts of a step are mapped over."""


class ClusterUnreachable(RunnerError):
    """A Dask scheduler that does not answer, or has no worker."""


class WorkerDiffers(RunnerError):
    """A worker with other versions than this process."""


class NotShared(RunnerError):
    """A worker that does not see the same files as this process."""


class WorkersLost(RunnerError):
    """A part that was given up, because workers died on it."""


class WarehouseError(AisleError):
    """Something about AISLE_HOME and what lies in it."""


class HomeUnusable(WarehouseError):
    """AISLE_HOME cannot be read or written."""


class HomeNewer(WarehouseError):
    """AISLE_HOME was written by a newer Aisle."""


class RunLocked(WarehouseError):
    """Another run of the same catalogue is under way."""


class RunOvertaken(WarehouseError):
    """Another run took this one's place in an S3 home."""


class UnknownProduct(WarehouseError):
    """No product of that id."""


class TableDamaged(WarehouseError):
    """A table whose log or files are damaged or gone."""


class DiskFull(WarehouseError):
    """No room left."""


class NothingPublished(WarehouseError):
    """No warehouse.duckdb yet, or nothing recorded at the time asked for."""


class UnknownRun(WarehouseError):
    """No recorded run of that id."""


class NotKept(WarehouseError):
    """A time whose files have been removed since."""


class QueryRefused(WarehouseError):
    """SQL that does more than read, or that fails."""


def printable(text: str) -> str:
    """The text with lone surrogates (bytes that were no UTF-8) replaced, so that it can be written anywhere."""
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


def closest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three of `known` that may have been meant; those that differ in case only keep all others out."""
    options = sorted(known)
    folded: dict[str, list[str]] = {}
    for option in options:
        folded.setdefault(option.casefold(), []).append(option)
    wanted = name.casefold()
    close = [wanted] if wanted in folded else difflib.get_close_matches(wanted, folded, n=3, cutoff=0.6)
    return [option for key in close for option in folded[key]][:3]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint naming the closest of `known`, or all of them when none is close."""
    options = sorted(known)
    close = closest(name, options)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "known: " + ", ".join(options) if options else "there is none yet"
