"""A shop catalogue of any size, made up from a word stock of our own, so that everything runs with nothing downloaded.

It is meant to be as awkward as a real one: labels share words, one label in 25 is wrong, three rows in ten have none,
ids come twice and disagree, lines are broken, and what is sold changes with the days. Nothing is kept between rows: a
product is a function of seed, day and line, so that any size takes the same memory and any day can be told again.
"""

from __future__ import annotations

import datetime as dt
import gzip
import html
import itertools
import json
import os
import random
import tomllib
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from core.errors import HomeUnusable, UsageError

__all__ = ["generate"]

_WORDS = Path(__file__).with_name("demo_words.toml")

# What goes wrong, as shares of the lines.
BROKEN = 0.015
REPEATED = 0.02
REPEATED_DISAGREE = 0.5  # of the repeated ones
# …and of the products.
UNLABELLED = 0.3
WRONG_LABEL = 0.04  # of the labelled ones
VARIANT = 0.03  # another product's text under its own id: a hold-out that ignores it leaks
FOREIGN_SHELF = 0.03  # sold under one label, named like a thing of a neighbouring one
SHARED_NOUN = 0.17
THIN_TITLE = 0.03  # nothing in the title says what it is

# How the shop changes.
STAYS = 0.9  # chance of a product to be in the next day's file too
NEW_PRICE = 0.01  # chance of a staying product to cost something else from that day on
SEASON_DAYS = 60  # from the first day's assortment to wholly that of the new season
FIRST_DAY = dt.date(2026, 3, 1)

_64_BITS = 2**64 - 1
BESTSELLERS = 600  # early products that the others are bought with
LINES_A_WRITE = 2_000

_Item = TypeVar("_Item")
Product = dict[str, Any]


def generate(folder: Path, rows: int = 20_000, seed: int = 0, day: int = 0) -> Path:
    """Write one day's file of the demo shop, `demo-day-000.jsonl.gz`, and return its path.

    The same arguments write the same bytes. About nine in ten products of one day are in the next day's file too.

    Args:
        folder: where to; made when it is not there.
        rows: lines of the file, broken and repeated ones included.
        seed: another number is another shop.
        day: days since the shop was opened; new words, brands and another mix of labels come in over 60 days.

    Raises:
        UsageError: fewer than one row, or a day before the first.
        HomeUnusable: the folder cannot be written.
    """
    if rows < 1 or day < 0:
        hint = "rows from 1 on, days from 0 on"
        raise UsageError(f"cannot generate {rows} rows of day {day}", where="demo catalogue", hint=hint)
    target = folder / f"demo-day-{day:03d}.jsonl.gz"
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _write(beside, _Shop(seed).lines(rows, day))
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        hint = "free some room there, or choose a folder that can be written"
        raise HomeUnusable(
            f"cannot write the demo catalogue: {error.strerror}", where=str(folder), hint=hint
        ) from error
    return target


def _write(path: Path, lines: Iterator[str]) -> None:
    # No name and no time in the gzip header: the same rows are the same bytes.
    with path.open("wb") as plain, gzip.GzipFile("", "wb", compresslevel=3, fileobj=plain, mtime=0) as packed:
        while chunk := list(itertools.islice(lines, LINES_A_WRITE)):
            packed.write(("\n".join(chunk) + "\n").encode())


@dataclass(frozen=True)
class _Label:
    """The words of one label."""

    name: str
    shelf: str
    usual_price: float
    weights: tuple[float, float]
    near: list[str]
    nouns: list[str]
    season: list[str]
    cues: list[str]
    tongues: list[str]
    shared: list[str]
    brands: list[str]
    new_brands: list[str]


@lru_cache(maxsize=1)
def _stock() -> tuple[dict[str, _Label], dict[str, list[str]], list[str]]:
    """The word stock: labels by name, common words, all brands."""
    words = tomllib.loads(_WORDS.read_text(encoding="utf-8"))
    labels = {
        name: _Label(
            name=name,
            shelf=f"{name[:2].upper()}{position:02d}",
            weights=tuple(entry.pop("weights")),
            usual_price=6.0 + 3.0 * position,
            shared=_owned_by(name, words["shared"]),
            brands=_owned_by(name, words["brands"]),
            new_brands=_owned_by(name, words["new_brands"]),
            **entry,
        )
        for position, (name, entry) in enumerate(words["labels"].items())
    }
    return labels, words["common"], list(words["brands"])


def _owned_by(label: str, owners: dict[str, list[str]]) -> list[str]:
    return [word for word, labels in owners.items() if label in labels]


def _pick(rng: random.Random, items: list[_Item], skew: float = 1.0) -> _Item:
    """One of them; with a skew above 1 the first ones more often, as in any shop."""
    return items[int(rng.random() ** skew * len(items))]


class _Shop:
    """Everything that one seed ever sells."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._labels, self._common, self._all_brands = _stock()
        self._names = list(self._labels)

    def lines(self, rows: int, day: int) -> Iterator[str]:
        """One day's file, line by line."""
        for line in range(rows):
            rng = self._random(day, line, purpose=1)
            fate = rng.random()
            if fate < BROKEN:
                yield self._broken(rng, self._offered(day, line))
            elif fate < BROKEN + REPEATED and line > 0:
                yield _as_json(self._repeated(rng, self._offered(day, line - rng.randint(1, min(line, 500)))))
            else:
                yield _as_json(self._offered(day, line))

    def _random(self, day: int, line: int, purpose: int = 0) -> random.Random:
        # Reproducible on purpose, and no secret.
        return random.Random((((self._seed << 20) + day) << 44) + (line << 2) + purpose)  # noqa: S311  # nosec B311

    def _offered(self, day: int, line: int) -> Product:
        """What this line sells on that day: a product that came on an earlier day and has stayed, or a new one."""
        born, price_changes = day, 0
        while born > 0:
            chance = _chance(self._seed, born, line)
            if chance >= STAYS:
                break
            price_changes += chance < NEW_PRICE * STAYS
            born -= 1
        product = self._product(born, line)
        if price_changes and product["price"] is not None:
            product["price"] = round(_amount(product["price"]) * 0.9**price_changes, 2)
        return product

    def _beginning(self, born: int, line: int, season: float) -> tuple[random.Random, random.Random, _Label]:
        """Chance for the product, chance for its text, its true label. A variant has the text of the line before."""
        rng = self._random(born, line)
        text_rng = rng
        if rng.random() < VARIANT and line > 0:
            text_rng = self._random(born, line - 1)
            text_rng.random()
        return rng, text_rng, self._label(text_rng, season)

    def _product(self, born: int, line: int) -> Product:
        season = min(1.0, born / SEASON_DAYS)
        rng, text_rng, label = self._beginning(born, line, season)
        brand = self._brand(text_rng, label, season)
        title, description = self._text(text_rng, label, brand, season)
        return {
            "id": f"D{born:03d}-{line:07d}",
            "title": title,
            "description": description,
            "brand": brand,
            "price": _price(rng, label),
            "also_buy": self._also_buy(rng, label),
            "category": self._written_label(rng, label),
            "shelf": label.shelf,
            "listed_on": (FIRST_DAY + dt.timedelta(days=born)).isoformat(),
        }

    def _label(self, rng: random.Random, season: float) -> _Label:
        total = list(
            itertools.accumulate(
                label.weights[0] * (1 - season) + label.weights[1] * season for label in self._labels.values()
            )
        )
        return self._labels[self._names[bisect(total, rng.random() * total[-1])]]

    def _neighbour(self, rng: random.Random, label: _Label) -> _Label:
        return self._labels[_pick(rng, label.near, skew=1.7)]

    def _brand(self, rng: random.Random, label: _Label, season: float) -> str | None:
        draw = rng.random()
        if draw < 0.12:
            return None
        if label.new_brands and rng.random() < 0.45 * season:
            return _pick(rng, label.new_brands)
        return _pick(rng, label.brands, skew=1.3) if draw < 0.75 else _pick(rng, self._all_brands)

    def _noun(self, rng: random.Random, label: _Label, season: float) -> str:
        draw = rng.random()
        if draw < SHARED_NOUN:
            return _pick(rng, label.shared)
        if draw < SHARED_NOUN + FOREIGN_SHELF:
            return _pick(rng, self._neighbour(rng, label).nouns)
        if draw < SHARED_NOUN + FOREIGN_SHELF + 0.06:
            return _pick(rng, label.tongues)
        return _pick(rng, label.season) if rng.random() < 0.5 * season else _pick(rng, label.nouns, skew=1.6)

    def _text(self, rng: random.Random, label: _Label, brand: str | None, season: float) -> tuple[str, str | None]:
        common = self._common
        noun = self._noun(rng, label, season)
        adjectives = common["season"] if rng.random() < 0.4 * season else common["adjectives"]
        words = [_pick(rng, adjectives)] if rng.random() < 0.7 else []
        if rng.random() < 0.5:
            words.append(_pick(rng, common["materials"]))
        if rng.random() >= THIN_TITLE:
            words.append(noun)
        if rng.random() < 0.15:
            words.append("& " + _pick(rng, label.cues))
        if rng.random() < 0.4:
            words.append(_pick(rng, common["colours"]))
        title = " ".join(words)
        if brand is not None and rng.random() < 0.6:
            title = f"{brand} {title}"
        if rng.random() < 0.35:
            title += ", " + _pick(rng, common["extras"])
        if rng.random() < 0.08:
            title += f" {_pick(rng, ['MK', 'X', 'No. ', 'S'])}{rng.randint(2, 9999)}"
        title = title[:1].upper() + title[1:] if title else common["adjectives"][0]
        # Some of the shop's suppliers send HTML entities.
        return html.escape(title) if rng.random() < 0.5 else title, self._description(rng, label, noun)

    def _description(self, rng: random.Random, label: _Label, noun: str) -> str | None:
        if rng.random() < 0.15:
            return None
        parts = [_pick(rng, self._common["openers"])] if rng.random() < 0.7 else []
        for _ in range(rng.randint(0, 2)):
            speaker = label if rng.random() < 0.8 else self._neighbour(rng, label)
            cue = _pick(rng, speaker.cues)
            thing = noun if rng.random() < 0.25 else "one"
            parts.append(_pick(rng, [f"Good for {cue}, this {thing}.", f"Think {cue}.", f"For {cue} and more."]))
        if rng.random() < 0.3:
            parts.append(f"Goes well with a {_pick(rng, self._neighbour(rng, label).nouns)}.")
        if rng.random() < 0.6:
            parts.append(_pick(rng, self._common["closers"]))
        return " ".join(parts) or None

    @cached_property
    def _bestsellers(self) -> dict[str, list[str]]:
        """Ids of the first day's early products, by label."""
        found: dict[str, list[str]] = {name: [] for name in self._names}
        for line in range(BESTSELLERS):
            _, _, label = self._beginning(0, line, season=0.0)
            found[label.name].append(f"D000-{line:07d}")
        return found

    def _also_buy(self, rng: random.Random, label: _Label) -> list[str]:
        if rng.random() < 0.7:
            return []
        ids = []
        for _ in range(rng.randint(1, 4)):
            shelf = label.name if rng.random() < 0.7 else _pick(rng, self._names)
            if self._bestsellers[shelf]:
                ids.append(_pick(rng, self._bestsellers[shelf], skew=2.0))
        return list(dict.fromkeys(ids))

    def _written_label(self, rng: random.Random, label: _Label) -> str | None:
        if rng.random() < UNLABELLED:
            return None
        if rng.random() < WRONG_LABEL:
            return self._neighbour(rng, label).name if rng.random() < 0.6 else _pick(rng, self._names)
        return label.name

    def _repeated(self, rng: random.Random, product: Product) -> Product:
        if rng.random() >= REPEATED_DISAGREE:
            return product
        if product["category"] is None or rng.random() < 0.4:
            return {**product, "title": f"{product['title']} (new)"}
        return {**product, "category": self._neighbour(rng, self._labels[product["category"]]).name}

    def _broken(self, rng: random.Random, product: Product) -> str:
        ways: list[Product] = [
            {**product, "id": None},
            {key: value for key, value in product.items() if key != "id"},
            {**product, "title": " "},
            {**product, "category": "Sundries"},
            {**product, "title": f'<span id="productTitle" class="a-large">{product["title"]}</span>'},
            {**product, "category": '<img src="/img/shelf.png" alt="HOME"/>'},
        ]
        way = rng.randrange(len(ways) + 1)
        if way < len(ways):
            return _as_json(ways[way])
        text = _as_json(product)
        return text[: rng.randint(1, len(text) - 1)]


def _chance(seed: int, day: int, line: int) -> float:
    """A number in [0, 1) that belongs to these three (splitmix64, a tenth of what a random.Random for each takes)."""
    mixed = seed * 0x9E3779B97F4A7C15 + day * 0xD1B54A32D192ED03 + (line + 1) * 0x8CB92BA72F3D8DD7
    mixed &= _64_BITS
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _64_BITS
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _64_BITS
    return ((mixed ^ (mixed >> 31)) >> 11) / 2**53


def _price(rng: random.Random, label: _Label) -> float | str | None:
    """Most prices are numbers, some are text, some are missing."""
    amount = round(rng.lognormvariate(0.0, 0.6) * label.usual_price, 2)
    draw = rng.random()
    if draw < 0.05:
        return None
    return f"${amount:,.2f}" if draw < 0.15 else amount


def _amount(price: float | str) -> float:
    return float(price.lstrip("$").replace(",", "")) if isinstance(price, str) else price


def _as_json(product: Product) -> str:
    return json.dumps(product, ensure_ascii=False, separators=(",", ":"))
