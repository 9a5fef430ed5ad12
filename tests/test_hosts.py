"""A keyword of web addresses holds the host of each, alike in bulk and alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.hosts import host, hosts
from catalogs.normalise import normalise_records
from catalogs.spec import CatalogSpec
from classifier import artifact
from classifier.model import fit
from classifier.recipes import resolve

SPEC = CatalogSpec.model_validate(
    {
        "name": "offers",
        "title": "Offers",
        "id": "id",
        "label": {"column": "kind"},
        "fields": [
            {"name": "title", "kind": "text"},
            {"name": "shop", "column": "URL", "kind": "keyword", "host": True},
        ],
    }
)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("http://www.theCharmWorks.com/product/CW-UA/Charm.html", "thecharmworks.com"),
        ("https://store.hp.com:8443/UKStore?id=1", "store.hp.com"),
        ("HTTPS://user:secret@Shop.example.org#top", "shop.example.org"),
        ("//cdn.example.org/a", "cdn.example.org"),
        ("www.example.org/a", "example.org"),
        ("example.org", "example.org"),
        ("  http://example.org  ", "example.org"),
        ("http://bücher.example/ä", "bücher.example"),
        ("Corner Shop", "corner"),
        ("http://user:p@ss@shop.de/", "shop.de"),
        ("http://[2001:DB8::1]:80/", "[2001:db8::1]"),
        ("http://shop.de;jsessionid=1", "shop.de"),
        ("http://shop.de\\x", "shop.de"),
        ("N/A", "n"),
        ("/only/a/path", None),
        ("?", None),
        ("", None),
        (None, None),
    ],
)
def test_the_host_of_an_address(address: str | None, found: str | None) -> None:
    assert normalise_records([{"id": "1", "URL": address}], SPEC)["shop"].to_list() == [found]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(st.sampled_from("htps:/.@?#w-+[];& aZ9äİ\u2028\\"), max_size=20) | st.text(max_size=20)))
def test_the_host_is_the_same_alone_and_in_bulk(addresses: list[str]) -> None:
    whole = [text.encode(errors="replace").decode() for text in addresses]
    column = pl.DataFrame({"url": whole}, schema={"url": pl.String}).select(host(pl.col("url"))).to_series()
    assert column.to_list() == hosts(whole)


def test_a_model_learns_what_a_host_sells(tmp_path: Path) -> None:
    shops = {"boots": ["bootworld.com", "myboots.de"], "lamps": ["lampland.com", "alllamps.de"]}
    rows: list[dict[str, Any]] = [
        {"id": f"{shop} {i}", "title": "an article", "URL": f"http://www.{shop}/page/{i}", "kind": kind}
        for kind, own in shops.items()
        for shop in own
        for i in range(20)
    ]
    model = fit(normalise_records(rows, SPEC), SPEC, resolve(SPEC), seed=0)
    artifact.save(model, tmp_path / "model", {})
    new = [{"title": "an article", "URL": "https://myboots.de/x?y"}, {"title": "an article", "URL": "LampLand.com"}]
    for one in (model, artifact.load(tmp_path / "model")):
        answers = one.predict(normalise_records(new, SPEC))
        assert answers["label"].to_list() == ["boots", "lamps"]
        assert ("shop", "myboots.de") in {(reason["field"], reason["token"]) for reason in answers["reasons"][0]}


def test_only_a_keyword_has_hosts() -> None:
    fields = [{"name": "title", "kind": "text", "host": True}]
    with pytest.raises(ValueError, match="host is for kind = 'keyword'"):
        CatalogSpec.model_validate(SPEC.model_dump() | {"fields": fields})
