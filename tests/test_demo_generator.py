"""The generated shop is repeatable, as awkward as it says, and no toy on which every model is right."""

from __future__ import annotations

import gzip
import html
import json
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from catalogs import registry
from catalogs.demo import generate
from core.errors import HomeUnusable, UsageError

ROWS = 12_000
LABELS = registry.load("demo").label.allowed or []
# The shelf code tells the true label: the first two letters are the label's.
PREFIX = {"TO03": "Tools", "TO04": "Toys", "HO01": "Home", "HE09": "Health", "BA05": "Baby", "BE08": "Beauty"}


def lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def readable(path: Path) -> list[dict[str, Any]]:
    found = []
    for line in lines(path):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def true_label(product: dict[str, Any]) -> str:
    shelf = product["shelf"]
    return PREFIX.get(shelf) or next(label for label in LABELS if label[:2].upper() == shelf[:2])


def usable(products: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        product
        for product in products
        if product.get("id")
        and product["title"].strip()
        and not product["title"].startswith("<")
        and (product["category"] is None or product["category"] in LABELS)
    ]


@pytest.fixture(scope="module")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("demo"), ROWS)


@pytest.fixture(scope="module")
def products(first_day: Path) -> list[dict[str, Any]]:
    return readable(first_day)


def test_the_same_arguments_write_the_same_bytes(tmp_path: Path):
    once = generate(tmp_path / "once", 500, seed=3, day=4).read_bytes()
    assert generate(tmp_path / "again", 500, seed=3, day=4).read_bytes() == once
    assert generate(tmp_path / "other", 500, seed=5, day=4).read_bytes() != once


def test_a_larger_file_begins_with_the_smaller_one(tmp_path: Path):
    small = lines(generate(tmp_path / "small", 300))
    assert lines(generate(tmp_path / "large", 900))[:300] == small


def test_rows_counts_every_line(first_day: Path):
    assert len(lines(first_day)) == ROWS


def test_every_kind_of_fault_is_in_it(first_day: Path, products: list[dict[str, Any]]):
    assert 0 < ROWS - len(products) < 0.01 * ROWS, "some lines are broken JSON"
    assert any("id" not in product for product in products)
    assert any("id" in product and product["id"] is None for product in products)
    assert any(not product["title"].strip() for product in products)
    assert any(product["title"].startswith("<span") for product in products)
    assert any(product["category"] == "Sundries" for product in products)
    assert any((product["category"] or "").startswith("<img") for product in products)
    assert any("&amp;" in product["title"] for product in products)
    assert {type(product["price"]) for product in products} == {float, str, type(None)}
    assert 0.01 < 1 - len(usable(products)) / ROWS < 0.02


def test_three_in_ten_have_no_label_and_one_in_25_a_wrong_one(products: list[dict[str, Any]]):
    known = [product for product in usable(products) if product["category"] is not None]
    assert 0.68 < len(known) / len(usable(products)) < 0.72
    wrong = sum(product["category"] != true_label(product) for product in known) / len(known)
    assert 0.03 < wrong < 0.055


def test_ids_come_twice_and_some_of_them_disagree(products: list[dict[str, Any]]):
    by_id: dict[str, list[dict[str, Any]]] = {}
    for product in usable(products):
        by_id.setdefault(product["id"], []).append(product)
    twice = [group for group in by_id.values() if len(group) > 1]
    assert 0.01 < len(twice) / ROWS < 0.03
    disagree = [group for group in twice if group[0] != group[1]]
    assert 0.3 < len(disagree) / len(twice) < 0.7


def test_the_same_text_comes_under_several_ids(products: list[dict[str, Any]]):
    ids_of: dict[tuple[str, str | None], set[str]] = {}
    for product in usable(products):
        ids_of.setdefault((product["title"], product["description"]), set()).add(product["id"])
    assert sum(len(ids) > 1 for ids in ids_of.values()) > 0.01 * ROWS


def test_labels_are_those_of_the_catalogue_and_uneven(products: list[dict[str, Any]]):
    counts = Counter(product["category"] for product in usable(products) if product["category"])
    assert sorted(counts) == sorted(LABELS)
    assert max(counts.values()) > 5 * min(counts.values())


def test_most_products_are_in_the_next_days_file_and_some_cost_less(first_day: Path, tmp_path: Path):
    before, after = lines(first_day), lines(generate(tmp_path, ROWS, day=1))
    assert 0.8 < len(set(before) & set(after)) / ROWS < 0.95
    prices = {product["id"]: product["price"] for product in usable(readable(first_day))}
    later = {product["id"]: product["price"] for product in usable(readable(tmp_path / "demo-day-001.jsonl.gz"))}
    changed = sum(prices[id_] != later[id_] for id_ in prices.keys() & later.keys())
    assert 0.002 < changed / ROWS < 0.03


def test_a_new_season_brings_new_words_brands_and_another_mix_of_labels(products: list[dict[str, Any]], tmp_path: Path):
    later = usable(readable(generate(tmp_path, ROWS, day=60)))
    early = usable(products)
    for words in ({"Solmarra", "Yondertrek", "Zestwell"},):
        assert not any(product["brand"] in words for product in early)
        assert sum(product["brand"] in words for product in later) > 0.02 * len(later)
    assert not any("bee hotel" in product["title"] for product in early)
    assert any("bee hotel" in product["title"] for product in later)
    shares = [Counter(map(true_label, rows))["Garden"] / len(rows) for rows in (early, later)]
    assert shares[1] > 1.4 * shares[0]


def test_a_linear_model_is_mostly_right_and_far_from_always(products: list[dict[str, Any]]):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics import accuracy_score
    from sklearn.svm import LinearSVC

    known = {product["id"]: product for product in usable(products) if product["category"] is not None}
    texts = [html.unescape(f"{product['title']} {product['description'] or ''}") for product in known.values()]
    labels = [product["category"] for product in known.values()]
    held_out = {text for text in texts if hash_of(text) % 4 == 0}
    train = [position for position, text in enumerate(texts) if text not in held_out]
    test = [position for position, text in enumerate(texts) if text in held_out]

    vectors = TfidfVectorizer(sublinear_tf=True).fit([texts[i] for i in train])
    model = LinearSVC(C=0.3).fit(vectors.transform([texts[i] for i in train]), [labels[i] for i in train])
    accuracy = accuracy_score([labels[i] for i in test], model.predict(vectors.transform([texts[i] for i in test])))

    assert 0.8 < accuracy < 0.93


def hash_of(text: str) -> int:
    import zlib

    return zlib.crc32(text.encode())


def test_more_rows_take_no_more_memory(tmp_path: Path):
    generate(tmp_path, 10)  # the word stock is read once
    peaks = []
    for rows in (3_000, 12_000):
        tracemalloc.start()
        generate(tmp_path, rows)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize(("rows", "day"), [(0, 0), (-1, 0), (10, -1)])
def test_impossible_sizes_and_days_are_refused(tmp_path: Path, rows: int, day: int):
    with pytest.raises(UsageError, match="cannot generate"):
        generate(tmp_path, rows, day=day)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(HomeUnusable, match="taken") as caught:
        generate(tmp_path / "taken" / "demo", 10)
    assert caught.value.hint


def test_nothing_but_the_finished_file_is_left(tmp_path: Path):
    path = generate(tmp_path, 100)
    assert list(tmp_path.iterdir()) == [path]
