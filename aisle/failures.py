"""How a failure is told: named errors with where and hint, anything else in one line; never a traceback unasked."""

from __future__ import annotations

import os
import traceback
from typing import Any

from typer import TyperException

from aisle.render import as_json as as_json_text
from aisle.render import as_json_line, emit, note
from core.errors import AisleError, OutOfMemory, UsageError

PIPELINE_PACKAGES = frozenset({"prefect", "great_expectations", "evidently", "pandas", "pyarrow", "deltalake", "arro3"})
"""Packages of the `pipeline` extra: an installation that only serves and queries lacks them."""


def tell(error: Exception, *, as_json: bool, on_one_line: bool = False) -> int:
    """Write what went wrong on stderr, and with `as_json` also as an object on stdout; returns the exit code."""
    if isinstance(error, TyperException):
        said, code = _tell_wrong_options(error), error.exit_code
    elif (named := as_named(error)) is not None:
        note(f"error: {_one_error(named)}")
        said, code = named.as_dict(), named.exit_code
    else:
        said, code = _tell_unexpected(error), 1
    if as_json:
        emit(as_json_line(said) if on_one_line else as_json_text(said))
    return code


def as_named(error: Exception) -> AisleError | None:
    """The named error that this is, or stands for; None for what nobody expected."""
    if isinstance(error, AisleError):
        return error
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in PIPELINE_PACKAGES:
        return AisleError(
            f"this installation has no {error.name}: it can serve and query, but not run flows",
            hint="install the pipeline extra: pip install 'aisle[pipeline]'",
        )
    if isinstance(error, PermissionError) and error.filename is not None:
        return AisleError(
            "this user may not read or write it",
            where=str(error.filename),
            hint=f"run it as the user that owns it, or let user {os.geteuid()} in; what is mounted keeps its owner",
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryException":
        return OutOfMemory(
            "more memory was needed than this process may use; nothing of this run is seen",
            hint="give it more, or lower AISLE_BATCH_ROWS; AISLE_MEMORY_LIMIT is DuckDB's part",
        )
    if type(error).__name__ == "ValidationError" and getattr(error, "title", None) == "Settings":
        return _wrong_settings(error)
    return None


def debugging() -> bool:
    """Whether traces are wanted."""
    return os.environ.get("AISLE_LOG_LEVEL", "").lower() == "debug"


def _one_error(error: AisleError) -> str:
    return str(error).replace("\n  hint: ", "\n hint: ")


def _wrong_settings(error: Any) -> AisleError:
    # Without the values: some settings are secrets.
    wrong = [f"AISLE_{str(entry['loc'][0]).upper()}: {entry['msg']}" for entry in error.errors()]
    return UsageError("; ".join(wrong), where="settings", hint="docs/settings.md lists every setting")


def _tell_wrong_options(error: TyperException) -> dict[str, Any]:
    # The vendored click writes usage and message; its type is not public, so its method is looked up.
    show = getattr(error, "show", None)
    if show is None:
        note(f"error: {error.format_message()}")
    else:
        show()
    return UsageError(error.format_message()).as_dict()


def _tell_unexpected(error: Exception) -> dict[str, Any]:
    summary = " ".join(f"{type(error).__name__}: {error}".split())
    if debugging():
        traceback.print_exception(error)
    note(f"unexpected: {summary}")
    note(" hint: run it again with AISLE_LOG_LEVEL=debug to see the trace")
    return {"error": "Unexpected", "message": summary, "where": None, "hint": "AISLE_LOG_LEVEL=debug"}
