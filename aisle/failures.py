"""How a failure is told: named errors with where and hint, anything else in one line; never a traceback unasked."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

from typer import TyperException

from core.errors import AisleError, UsageError

PIPELINE_PACKAGES = frozenset({"prefect", "great_expectations", "evidently", "pandas", "pyarrow"})
"""Packages of the `pipeline` extra: an installation that only serves and queries lacks them."""


def tell(error: Exception, *, as_json: bool) -> int:
    """Write what went wrong on stderr, and with `as_json` also as an object on stdout; returns the exit code."""
    if isinstance(error, TyperException):
        return _tell_wrong_options(error, as_json=as_json)
    named = as_named(error)
    if named is None:
        return _tell_unexpected(error, as_json=as_json)
    print(f"error: {_one_error(named)}", file=sys.stderr)
    if as_json:
        _print_json(named.as_dict())
    return named.exit_code


def as_named(error: Exception) -> AisleError | None:
    """The named error that this is, or stands for; None for what nobody expected."""
    if isinstance(error, AisleError):
        return error
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in PIPELINE_PACKAGES:
        return AisleError(
            f"this installation has no {error.name}: it can serve and query, but not run flows",
            hint="install the pipeline extra: pip install 'aisle[pipeline]'",
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


def _tell_wrong_options(error: TyperException, *, as_json: bool) -> int:
    # The vendored click writes usage and message; its type is not public, so its method is looked up.
    show = getattr(error, "show", None)
    if show is None:
        print(f"error: {error.format_message()}", file=sys.stderr)
    else:
        show()
    if as_json:
        _print_json(UsageError(error.format_message()).as_dict())
    return error.exit_code


def _tell_unexpected(error: Exception, *, as_json: bool) -> int:
    summary = " ".join(f"{type(error).__name__}: {error}".split())
    if debugging():
        traceback.print_exception(error)
    print(f"unexpected: {summary}", file=sys.stderr)
    print(" hint: run it again with AISLE_LOG_LEVEL=debug to see the trace", file=sys.stderr)
    if as_json:
        _print_json({"error": "Unexpected", "message": summary, "where": None, "hint": "AISLE_LOG_LEVEL=debug"})
    return 1


def _print_json(value: dict[str, Any]) -> None:
    from aisle.render import as_json

    print(as_json(value))
