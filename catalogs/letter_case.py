"""Lower case as Polars has it, for single texts too: the same letters in bulk and alone."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

__all__ = ["LATIN", "lowered", "lowered_texts"]

# Below U+0250, on the dashes, quotes, bullets and currency signs of shops, and on what stands for a broken character,
# Python and Rust agree on lower case and on what is a letter, character by character (a test goes through all of them).
# Elsewhere their Unicode versions may differ, so other texts always go through Polars.
LATIN = re.compile("[\x00-\u024f\u2010-\u2027\u2030-\u205e\u20a0-\u20bf\u2122\ufffd]*")


def lowered(text: str) -> str:
    """What `str.to_lowercase` of Polars gives, without starting Polars if possible."""
    return lowered_texts([text])[0]


def lowered_texts(texts: Sequence[str]) -> list[str]:
    """`lowered` of each text: Polars is started once for all that need it."""
    found = [text.lower() for text in texts]
    others = [at for at, text in enumerate(found) if not (text.isascii() or LATIN.fullmatch(text))]
    if others:
        # Lone surrogates, which Polars does not take, are no letters either way.
        encodable = [texts[at].encode(errors="replace").decode() for at in others]
        by_polars = pl.Series(encodable, dtype=pl.String).str.to_lowercase()
        for at, text in zip(others, by_polars.to_list(), strict=True):
            found[at] = text
    return found
