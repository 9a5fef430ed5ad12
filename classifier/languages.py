"""A guess at the language of a product's text: by its script, and in Latin script by commonest words.

Rough on purpose, with no model behind it: good enough to tell products apart whose language is not the catalogue's. A
text with fewer than two telling words, as most titles are, is not guessed at.
"""

from __future__ import annotations

import polars as pl

__all__ = ["UNTOLD", "guess_languages"]

UNTOLD = "not told"
LEAST_WORDS = 2
"""Different telling words that a guess needs, and more of them than of any other language."""

_READ_CHARS = 300
_SCRIPTS = {
    "Cyrillic script": r"\p{Cyrillic}",
    "Greek script": r"\p{Greek}",
    "Arabic script": r"\p{Arabic}",
    "Hebrew script": r"\p{Hebrew}",
    "Devanagari script": r"\p{Devanagari}",
    "Thai script": r"\p{Thai}",
    "Japanese": r"[\p{Hiragana}\p{Katakana}]",
    "Korean": r"\p{Hangul}",
    "Chinese characters": r"\p{Han}",
}
# Frequent words that the other languages here do not have.
_WORDS = {
    "English": "the and with for of is this to your you are from that it",
    "German": "und der die das mit für von ist nicht ein eine auf zum zur im",
    "French": "et le les des avec pour du est une dans sur vous cette aux",
    "Spanish": "y el los las con una del es por su más muy este",
    "Portuguese": "e os com uma do da em não dos das seu sua você ou",
    "Italian": "il di della che per gli nel sono è alla delle questo",
    "Dutch": "het van een voor met zijn niet op deze aan ook wordt",
}


def guess_languages(texts: pl.Series) -> pl.Series:
    """Name of the likely language or script of each text, `UNTOLD` where there is too little to go by."""
    text = pl.col("text").fill_null("").str.slice(0, _READ_CHARS)
    letters = text.str.count_matches(r"\p{L}")
    scripts = [
        pl.when(text.str.count_matches(pattern) * 2 > letters).then(pl.lit(name)) for name, pattern in _SCRIPTS.items()
    ]
    frame = texts.to_frame("text").with_row_index("row")
    # Few texts hold any letter of another script: only they are looked at closely.
    foreign = frame.filter(text.str.contains(r"[^\p{Latin}\P{L}]")).select("row", pl.coalesce(*scripts).alias("script"))
    words = frame.select("row", text.str.to_lowercase().str.extract_all(r"\p{L}+").alias("word")).explode("word")
    counted = words.join(_telling_words(), on="word").unique().group_by("row", "language").len("words")
    most = counted.filter(pl.col("words") == pl.col("words").max().over("row"), pl.col("words") >= LEAST_WORDS)
    told = most.filter(pl.len().over("row") == 1).select("row", "language")
    found = frame.select("row").join(foreign, on="row", how="left").join(told, on="row", how="left").sort("row")
    return found.select(pl.coalesce("script", "language", pl.lit(UNTOLD)).alias("language")).to_series()


def _telling_words() -> pl.DataFrame:
    rows = [(word, language) for language, listed in _WORDS.items() for word in listed.split()]
    return pl.DataFrame(rows, schema={"word": pl.String, "language": pl.String}, orient="row")
