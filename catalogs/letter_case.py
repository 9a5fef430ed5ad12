"""Lower case as Polars has it, for single texts too: the same letters in bulk and alone."""

from __future__ import annotations

import re

import polars as pl

__all__ = ["LATIN", "lowered"]

# Below U+0250, on the dashes, quotes, bullets and currency signs of shops, and on what stands for a broken character,
# Python and Rust agree on lower case and on what is a letter, character by character (a test goes through all of them).
# Elsewhere their Unicode versions may differ, so other texts always go through Polars.
LATIN = re.compile("[\x00-\u024f\u2010-\u2027\u2030-\u205e\u20a0-\u20bf\u2122\ufffd]*")


def lowered(text: str) -> str:
    """What `str.to_lowercase` of Polars gives, without starting Polars if possible."""
    found = text.lower()
    if LATIN.fullmatch(found):
        return found
    return str(pl.select(pl.lit(text).str.to_lowercase()).item())
