"""The gate promotes what is shown to be no worse, compares what can be compared, and says why where it does not."""

from __future__ import annotations

import html
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from aisle.cli import run
from catalogs import registry
from catalogs.demo import generate
from catalogs.policies import GateSpec
from catalogs.spec import CatalogSpec, LabelSpec
from classifier import artifact
from classifier.calibration import Curve
from classifier.gate import Check, Contestant, checks, fewest_rows, unseen
from classifier.holdout import holdout_mask
from classifier.model import Model, fit
from classifier.recipes import resolve
from core.settings import get_settings
from reports.index import entries
from tests.conftest import PROJECT
from tests.products import shop
from warehouse.home import get_home
from warehouse.query import query
from warehouse.registry import published_champion

QUICK = {"words.ngrams": "1"}
# What a test is not about does not fail it.
LENIENT = GateSpec(
    max_loss=0.9, min_label_rows=10_000, max_calibration_loss=0.9, max_slowdown=1000.0, max_growth=1000.0
)


@dataclass
class Bench:
    """Products of the generated shop, split, and models fitted on them."""

    spec: CatalogSpec
    train: pl.DataFrame
    holdout: pl.DataFrame
    folder: Path

    def fit(self, rows: pl.DataFrame | None = None, recipe: str = "linear-fast", **changes: str) -> Model:
        """A model of these training rows, of all by default."""
        return fit(self.train if rows is None else rows, self.spec, resolve(self.spec, recipe, QUICK | changes), seed=0)

    def contestant(self, model: Model, rows: pl.DataFrame) -> Contestant:
        """The model as it is served, from its artifact."""
        folder = self.folder / f"model-{len(list(self.folder.iterdir()))}"
        artifact.save(model, folder, {})
        served = artifact.load(folder)
        return Contestant(served, served.predict(rows, reasons=False), artifact.size(folder))

    def judge(
        self, challenger: Model, champion: Model, gate: GateSpec, rows: pl.DataFrame | None = None
    ) -> list[Check]:
        """What the gate finds on the hold-out."""
        seen = self.holdout if rows is None else rows
        spec = self.spec.model_copy(update={"gate": gate})
        return checks(seen, self.contestant(challenger, seen), self.contestant(champion, seen), spec, seed=0)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    spec, frame = shop(rows=4_000)
    labelled = frame.filter(pl.col("known_path").is_not_null()).unique("product_id", keep="last", maintain_order=True)
    held = holdout_mask(labelled["text_hash"], 0.4)
    return Bench(spec, labelled.filter(~held), labelled.filter(held), tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def champion(bench: Bench) -> Model:
    return bench.fit()


def changed(**limits: Any) -> GateSpec:
    return LENIENT.model_copy(update=limits)


def failed(found: list[Check]) -> list[str]:
    return [check.title for check in found if not check.passed]


def test_a_model_that_is_as_good_passes_every_check(bench: Bench, champion: Model) -> None:
    found = bench.judge(champion, champion, GateSpec(max_slowdown=1000.0, min_label_rows=60))
    assert failed(found) == []
    assert [check.name for check in found if check.label is None] == [
        "macro_f1",
        "calibration_error",
        "latency",
        "artifact_size",
    ]
    by_label = [check for check in found if check.name == "label_f1"]
    assert len(by_label) > 2
    assert [check.rows for check in by_label] == sorted((check.rows or 0 for check in by_label), reverse=True)
    assert {(check.difference, check.low) for check in (found[0], *by_label)} == {(0.0, 0.0)}


def test_a_model_that_is_worse_everywhere_fails_with_what_it_loses(bench: Bench, champion: Model) -> None:
    found = bench.judge(bench.fit(bench.train.head(200)), champion, changed(max_loss=0.02))
    assert failed(found) == ["macro F1"]
    macro = found[0]
    assert macro.low is not None
    assert macro.low < macro.difference < -0.1
    assert f"it loses {-macro.difference:.4f}, and 0.0200 is allowed" in macro.said
    assert f"{macro.low:+.4f}" in macro.said


def test_a_model_that_is_worse_on_one_large_label_alone_fails_by_that_label(bench: Bench, champion: Model) -> None:
    """Half of the largest label's products were filed under the second largest: macro F1 hardly sees it."""
    first, second = bench.train["known_path"].list.first().value_counts(sort=True).head(2).to_series(0)
    half = (pl.col("known_path").list.first() == first) & (pl.int_range(pl.len()) % 2 == 0)
    misfiled = pl.when(half).then(pl.lit([second])).otherwise("known_path").alias("known_path")
    found = bench.judge(
        bench.fit(bench.train.with_columns(misfiled)),
        champion,
        changed(max_loss=0.2, min_label_rows=60, max_label_loss=0.1),
    )
    assert f"F1 of {first}" in failed(found)
    assert set(failed(found)) <= {f"F1 of {first}", f"F1 of {second}"}
    assert found[0].passed, "macro F1"
    (own,) = [check for check in found if check.label == first]
    assert own.said.startswith(f"F1 of {first} {own.challenger:.4f}, champion {own.champion:.4f}")


def test_a_model_that_is_too_sure_fails_by_its_calibration_alone(bench: Bench, champion: Model) -> None:
    sure = replace(champion.calibration, curves=(Curve(np.array([0.0]), np.array([0.999])),))
    found = bench.judge(replace(champion, calibration=sure), champion, GateSpec(max_slowdown=1000.0))
    assert failed(found) == ["calibration error"]
    (own,) = [check for check in found if check.name == "calibration_error"]
    assert own.difference == pytest.approx(own.challenger - own.champion)
    assert own.difference > own.threshold == 0.02


def test_a_slower_model_fails_and_a_difference_that_is_ignored_does_not(bench: Bench, champion: Model) -> None:
    """Long n-grams of every field against the words of the title: several times the work, whatever the machine does."""
    title = [field for field in bench.spec.fields if field.name == "title"]
    titles = bench.spec.model_copy(update={"fields": title, "expectations": []})
    light = fit(bench.train, titles, resolve(titles, "linear-fast", QUICK), seed=0)
    heavy = bench.fit(recipe="linear", **{"words.ngrams": "4", "subwords.shortest": "1", "subwords.longest": "8"})
    strict = changed(max_slowdown=1.0, ignored_slowdown_us=0.0)
    assert failed(bench.judge(heavy, light, strict)) == ["latency"]
    assert failed(bench.judge(light, heavy, strict)) == []
    (own,) = [check for check in bench.judge(heavy, light, strict.model_copy(update={"ignored_slowdown_us": 1e6}))
              if check.name == "latency"]  # fmt: skip
    assert own.passed
    assert "which are ignored" in own.said


def test_a_larger_artifact_fails_and_a_small_one_never_does(bench: Bench, champion: Model) -> None:
    larger = bench.fit(recipe="linear")
    strict = changed(max_growth=1.0, ignored_size_mib=0.0)
    assert failed(bench.judge(larger, champion, strict)) == ["artifact size"]
    assert failed(bench.judge(champion, larger, strict)) == []
    assert failed(bench.judge(larger, champion, strict.model_copy(update={"ignored_size_mib": 64.0}))) == []


def test_a_hold_out_that_is_too_small_says_so_with_its_interval_and_what_to_do(bench: Bench, champion: Model) -> None:
    other = bench.fit(bench.train.slice(200))
    (macro, *_) = bench.judge(other, champion, LENIENT)
    assert macro.low is not None
    assert macro.low < min(macro.difference, 0.0)
    between = (max(-macro.difference, 0.0) - macro.low) / 2
    (macro, *_) = bench.judge(other, champion, changed(max_loss=between))
    assert not macro.passed
    assert f": {bench.holdout.height:,} hold-out rows are too few to show that it loses no more than" in macro.said
    assert "; label more products, or set a larger gate.max_loss; the difference lies between" in macro.said
    assert f"{macro.low:+.4f}" in macro.said
    assert macro.said.endswith("(90 % interval).")


def test_few_rows_prove_nothing_even_without_a_difference(bench: Bench, champion: Model) -> None:
    few = bench.holdout.unique("text_hash", maintain_order=True).head(148)
    (macro, *_) = bench.judge(champion, champion, changed(max_loss=0.02), few)
    assert (macro.difference, macro.low, macro.passed) == (0.0, 0.0, False)
    assert "148 hold-out rows are too few to show that it loses no more than 0.0200, even without a loss" in macro.said
    assert "that takes about 150" in macro.said


def test_nothing_to_lose_asks_for_a_gain(bench: Bench, champion: Model) -> None:
    poor = bench.fit(bench.train.head(200))
    assert failed(bench.judge(champion, poor, changed(max_loss=0.0))) == []
    (macro, *_) = bench.judge(champion, champion, changed(max_loss=0.0))
    assert "gate.max_loss = 0 asks for a gain" in macro.said


def test_copies_of_a_text_prove_as_much_as_one(bench: Bench, champion: Model) -> None:
    other = bench.fit(bench.train.slice(200))
    once = bench.holdout.unique("text_hash", maintain_order=True)
    (alone, *_), (copied, *_) = (bench.judge(other, champion, LENIENT, rows) for rows in (once, pl.concat([once] * 5)))
    assert copied.rows == 5 * (alone.rows or 0)
    assert copied.low == pytest.approx(alone.low)


@pytest.mark.parametrize(("loss", "rows"), [(0.02, 149), (0.05, 59), (0.01, 299)])
def test_so_many_rows_without_a_loss_are_needed(loss: float, rows: int) -> None:
    assert fewest_rows(loss) == rows
    assert (1 - loss) ** rows <= 0.05 < (1 - loss) ** (rows - 1)


def test_label_paths_have_checks_at_the_first_level_and_of_whole_labels(bench: Bench) -> None:
    indoors = {"Kitchen", "Home", "Baby", "Toys", "Beauty", "Health", "Stationery"}
    level = pl.when(pl.col("known_path").list.first().is_in(indoors)).then(pl.lit("In")).otherwise(pl.lit("Out"))
    paths = pl.concat_list(level, pl.col("known_path").list.first()).alias("known_path")
    spec = bench.spec.model_copy(update={"label": LabelSpec(columns=["where", "what"])})
    tree = replace(bench, spec=spec, train=bench.train.with_columns(paths), holdout=bench.holdout.with_columns(paths))
    model = tree.fit()
    found = tree.judge(model, model, GateSpec(max_slowdown=1000.0, min_label_rows=60))
    assert failed(found) == []
    assert {check.label for check in found if check.name == "level_f1"} == {"In", "Out"}
    whole = [check.label for check in found if check.name == "label_f1"]
    assert whole
    assert all(" > " in (label or "") for label in whole)


def test_rows_that_the_champion_has_learnt_from_are_left_out(bench: Bench) -> None:
    rows = pl.concat([bench.train, bench.holdout])
    smaller = bench.spec.model_copy(update={"holdout": bench.spec.holdout.model_copy(update={"share": 0.1})})
    assert rows.filter(unseen(rows, smaller)).equals(rows.filter(holdout_mask(rows["text_hash"], 0.1)))
    # Digests of other text fields hold out other products: of those of today, the champion has learnt from most.
    titles = bench.spec.model_copy(update={"fields": [f for f in bench.spec.fields if f.name != "description"]})
    both = unseen(rows, titles) & holdout_mask(rows["text_hash"], 0.2)
    assert 0 < both.sum() < 0.5 * holdout_mask(rows["text_hash"], 0.2).sum()


@dataclass
class Shop:
    """A home with four trainings of the generated shop, and what each said: JSON, and the last refusal in words."""

    first: dict[str, Any]
    equal: dict[str, Any]
    worse: dict[str, Any]
    overruled: dict[str, Any]
    printed: str


# Nothing that is learnt: no word is in so many rows.
POOR = ("--set", "words.min_rows=400")


@pytest.fixture(scope="module")
def shop_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("gate")
    with pytest.MonkeyPatch.context() as environment, StringIO() as out, redirect_stdout(out):
        environment.setenv("AISLE_HOME", str(folder / "var"))
        environment.setenv("AISLE_CATALOGS", str(with_gate(folder / "catalogs", "max_slowdown = 1000")))
        get_settings.cache_clear()

        def printed(*words: str) -> str:
            out.seek(out.truncate(0))
            assert run([*words]) == 0, out.getvalue()
            return out.getvalue()

        def trained(*words: str) -> dict[str, Any]:
            answer: dict[str, Any] = json.loads(printed("train", "demo", "--recipe", "linear-fast", *words, "--json"))
            return answer

        printed("ingest", "demo", str(generate(folder, 1_500)))
        first, equal, worse, overruled = trained(), trained(), trained(*POOR), trained(*POOR, "--promote")
        printed("models", "rollback", "demo")
        yield Shop(first, equal, worse, overruled, printed("train", "demo", "--recipe", "linear-fast", *POOR))
    get_settings.cache_clear()


def with_gate(folder: Path, lines: str, share: float = 0.2) -> Path:
    """A folder with the generated shop's catalogue, its gate changed."""
    folder.mkdir(exist_ok=True)
    toml = (registry.BUILTIN / "demo.toml").read_text()
    assert "[gate]" not in toml
    assert "[holdout]" not in toml
    (folder / "demo.toml").write_text(f"{toml}\n[gate]\n{lines}\n\n[holdout]\nshare = {share}\n")
    return folder


def ask(sql: str) -> list[tuple[Any, ...]]:
    return query(get_home(), sql).rows


def test_the_first_model_has_nothing_to_be_compared_with(shop_home: Shop) -> None:
    assert shop_home.first["promoted"]
    assert shop_home.first["gate"] == []
    assert "gate" not in shop_home.first["reports"]


def test_a_retraining_on_the_same_rows_is_promoted(shop_home: Shop) -> None:
    equal = shop_home.equal
    assert equal["promoted"]
    rows = equal["holdout_rows"]
    assert equal["why"].startswith(
        f"all {len(equal['gate'])} checks against champion v1 passed on {rows} hold-out rows that neither has seen: "
        "Macro F1 "
    )


def test_a_refusal_says_every_reason(shop_home: Shop) -> None:
    worse = shop_home.worse
    assert not worse["promoted"]
    reasons = [check["said"] for check in worse["gate"] if not check["passed"]]
    assert any(reason.startswith("Macro F1") for reason in reasons)
    assert all(reason in worse["why"] for reason in reasons)
    head, failures = shop_home.printed.splitlines()[0], [
        line for line in shop_home.printed.splitlines() if line.startswith("  failed  ")
    ]  # fmt: skip
    assert "v5 (linear-fast) was not promoted: " in head
    assert "checks against champion v2 failed on" in head
    assert failures == [f"  failed  {reason}" for reason in reasons]
    assert any(
        line.startswith("  passed  ") and "latency, artifact size" in line for line in shop_home.printed.splitlines()
    )


def test_promoting_against_the_gate_keeps_what_it_found(shop_home: Shop) -> None:
    overruled = shop_home.overruled
    assert overruled["promoted"]
    assert overruled["why"].startswith("promoted by --promote against the gate; ")
    assert [check["said"] for check in overruled["gate"] if not check["passed"]]
    page = json.loads(Path(overruled["reports"]["gate"]).with_suffix(".json").read_text())
    assert (page["promoted"], page["tone"]) == (True, "review")
    assert page["verdict"].endswith("checks failed, and were overruled")


def test_every_check_is_a_row_in_sql(shop_home: Shop) -> None:
    for trained, version, champion in (
        (shop_home.equal, "v2", "v1"),
        (shop_home.worse, "v3", "v2"),
        (shop_home.overruled, "v4", "v2"),
    ):
        names = list(trained["gate"][0])
        found = ask(f"SELECT {', '.join(names)} FROM gate_checks WHERE model_version = '{version}'")
        assert [dict(zip(names, row, strict=True)) for row in found] == trained["gate"]
        same = ask(f"SELECT DISTINCT champion_version, run_id FROM gate_checks WHERE model_version = '{version}'")
        assert same == [(champion, trained["run_id"])]
    said = dict(ask("SELECT model_version, gate FROM models"))
    assert said["v1"] is None
    assert said["v2"] == f"passed all {len(shop_home.equal['gate'])} checks against v1"
    assert said["v3"].startswith("failed ")
    assert "checks against v2: macro F1" in said["v3"]


def test_the_page_shows_every_check_and_the_index_links_it(shop_home: Shop, aisle: Any) -> None:
    path = Path(shop_home.worse["reports"]["gate"])
    text = html.unescape(path.read_text()).replace("\u00a0", " ")
    for check in shop_home.worse["gate"]:
        assert check["title"][1:] in text
        assert f"{check['challenger']:,.4f}" in text or not check["name"].endswith("f1")
        assert check["passed"] or check["said"] in text
    assert "v3 was refused" in text
    index = json.loads(aisle("report", "demo", "--json")[1])["index"]
    assert f"{path.parent.name}/gate.html" in Path(index).read_text()
    (entry,) = [one for one in entries(get_home().reports) if one.href.endswith(f"{path.parent.name}/gate.html")]
    assert (entry.kind, entry.tone, entry.catalog) == ("Gate", "bad", "demo")


def test_models_show_the_verdict_and_decisions_have_a_reason(shop_home: Shop, aisle: Any) -> None:
    shown = {model["model_version"]: model for model in json.loads(aisle("models", "list", "demo", "--json")[1])}
    assert shown["v2"]["why"] == "rolled back from v4"
    assert "\ngate " in aisle("models", "compare", "demo", "v2", "v3")[1]
    assert "passed all" in aisle("models", "list", "demo")[1]
    for command in ("promote", "reject"):
        code, out, _ = aisle("models", command, "demo", "--json")
        told = json.loads(out)
        assert (code, told["error"]) == (2, "UsageError")
        assert (
            "v1 (former champion), v2 (champion), v3 (refused), v4 (former champion), v5 (refused)" in told["message"]
        )
        assert f"aisle models {command} demo v5" in told["hint"]
    assert (
        json.loads(aisle("models", "reject", "demo", "v5", "--json")[1])["why"]
        == "rejected by a person, who gave no reason"
    )
    assert (
        json.loads(aisle("models", "promote", "demo", "v1", "--json")[1])["why"]
        == "promoted by a person in place of v2"
    )
    assert aisle("models", "promote", "demo", "v2", "--why", "")[0] == 0
    reasons = dict(ask("SELECT model_version, why FROM models"))
    assert (reasons["v1"], reasons["v5"]) == (
        "promoted by a person in place of v2",
        "rejected by a person, who gave no reason",
    )
    assert reasons["v2"] == "promoted by a person in place of v1"


def test_models_of_a_catalogue_without_any_say_how_to_get_one(home: Path, aisle: Any) -> None:
    code, out, _ = aisle("models", "promote", "demo", "--json")
    told = json.loads(out)
    assert (code, told["error"]) == (1, "UnknownModel")
    assert told["hint"] == "train one: aisle train demo"


def test_another_hold_out_is_compared_on_the_part_that_both_have(
    home: Path, day: str, told: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AISLE_CATALOGS", str(with_gate(tmp_path / "catalogs", "max_slowdown = 1000")))
    get_settings.cache_clear()
    told("ingest", "demo", day)
    first = told("train", "demo", "--recipe", "linear-fast")
    with_gate(tmp_path / "catalogs", "max_slowdown = 1000", share=0.4)
    second = told("train", "demo", "--recipe", "linear-fast")
    assert second["holdout_rows"] > first["holdout_rows"] == second["gate"][0]["rows"]
    with_gate(tmp_path / "catalogs", "max_slowdown = 1000", share=0.1)
    third = told("train", "demo", "--recipe", "linear-fast")
    assert third["gate"][0]["rows"] == third["holdout_rows"] < first["holdout_rows"]


def test_a_damaged_champion_can_be_overruled(home: Path, day: str, told: Any, aisle: Any) -> None:
    told("ingest", "demo", day)
    told("train", "demo", "--recipe", "linear-fast")
    (published_champion(get_home(), "demo").folder / "intercept.npy").write_bytes(b"")
    code, out, _ = aisle("train", "demo", "--recipe", "linear-fast", "--json")
    assert (code, json.loads(out)["error"]) == (1, "ArtifactDamaged")
    replaced = told("train", "demo", "--recipe", "linear-fast", "--promote")
    assert (replaced["promoted"], replaced["why"]) == (True, "promoted by --promote, without the gate")


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
    assert "aisle models promote demo v2 replaces it" in refused["why"]
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


@pytest.mark.slow
def test_under_prefect_the_checks_are_an_artifact_of_the_run(home: Path, day: str, told: Any, tmp_path: Path) -> None:
    told("ingest", "demo", day)
    told("train", "demo", "--recipe", "linear-fast")
    script = """
import json
from core.orchestration import run_flow
from flows.train import train
result = run_flow(train, "demo", recipe="linear-fast", with_prefect=True)
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    (kept,) = [one for one in client.read_artifacts() if one.key == "gate-demo"]
print(json.dumps({"gate": result.gate, "artifact": json.loads(kept.data), "said": kept.description}))
"""
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["artifact"] == found["gate"]
    assert "checks against champion v1" in found["said"]
