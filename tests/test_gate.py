"""The gate compares only what can be compared, and says why where it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from catalogs import registry
from catalogs.demo import generate
from core.settings import get_settings


@pytest.fixture
def day(tmp_path: Path) -> str:
    return str(generate(tmp_path / "source", 1_500))


@pytest.fixture
def told(aisle: Any) -> Any:
    def _told(*words: str) -> dict[str, Any]:
        code, out, err = aisle(*words, "--json")
        assert code == 0, err
        answer: dict[str, Any] = json.loads(out)
        return answer

    return _told


@pytest.fixture
def prototype(home: Path, day: str, told: Any) -> Any:
    """A home whose champion is a prototype, trained on the hold-out too."""
    told("ingest", "demo", day)
    assert told("train", "demo", "--recipe", "newsgroups-prototype", "--promote")["promoted"]
    return told


def test_a_prototype_that_is_champion_is_replaced_by_decision_alone(prototype: Any) -> None:
    refused = prototype("train", "demo", "--recipe", "linear-fast")
    assert not refused["promoted"]
    assert "is a prototype, trained on the hold-out as well" in refused["why"]
    assert "aisle train demo --promote" in refused["why"]
    assert prototype("train", "demo", "--recipe", "linear-fast", "--promote")["promoted"]


def test_a_champion_that_can_answer_no_more_is_replaced(
    home: Path, day: str, told: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told("ingest", "demo", day)
    told("train", "demo", "--recipe", "linear-fast")
    toml = (registry.BUILTIN / "demo.toml").read_text()
    head, _, rest = toml.partition('[[fields]]\nname = "brand"')
    (tmp_path / "fewer").mkdir()
    (tmp_path / "fewer" / "demo.toml").write_text(head + rest[rest.index("[[fields]]") :])
    monkeypatch.setenv("AISLE_CATALOGS", str(tmp_path / "fewer"))
    get_settings.cache_clear()
    told("ingest", "demo", day)
    after = told("train", "demo", "--recipe", "linear-fast")
    assert after["promoted"]
    assert "champion v1 can answer no more: the model reads brand" in after["why"]
    get_settings.cache_clear()
