"""The host of a web address: which shop a product is from, whatever page of it.

Written twice, for columns and for single values, as a model asked for one product cannot wait for the machinery of a
column; a test holds them equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import polars as pl

from catalogs.letter_case import lowered_texts

__all__ = ["host", "hosts"]

# Scheme, user and a leading "www." are passed over; the host ends before port, path, query and fragment, or at what no
# host can hold. Of what is no address the first word is taken, if any. Regular expressions of Python and of Polars read
# this pattern alike.
_HOST = (
    r"^(?:[a-z][a-z0-9+.\-]*://|//)?(?:[^/?# ]*@)?(?:www\.)?"
    r"(\[[0-9a-f:.]+\]|[^\[/?#:@;,&<>\"\\ \t\r\n]+)"
)
_OF_ONE = re.compile(_HOST)


def host(addresses: pl.Expr) -> pl.Expr:
    """The host of each trimmed address, in lower case; null where nothing could be one."""
    return addresses.str.to_lowercase().str.extract(_HOST)


def hosts(addresses: Iterable[str | None]) -> list[str | None]:
    """`host` of single addresses."""
    found = [_OF_ONE.match(text) for text in lowered_texts([text or "" for text in addresses])]
    return [None if one is None else one.group(1) for one in found]
