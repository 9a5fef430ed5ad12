"""Steps: the drift detectors on a catalogue's own products, with and without drift."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from catalogs import registry
from classifier import artifact
from core.orchestration import artifact_table, step, tell_progress
from core.settings import get_settings
from reports import self_test_page
from reports.measures import Knowledge
from reports.self_test import SIZES, Trial, World, self_test, ways
from warehouse import watched
from warehouse.policy import decide
from warehouse.registry import need_champion
from warehouse.runs import joined

MOST_ROWS = 60_000
"""Products to draw from: reference and batch of the largest size, with some to spare."""


@dataclass(frozen=True)
class Sampled:
    """What detectors are tested on, and whose answers."""

    world: World
    model_version: str


@step("sample products")
def sample_products(run_id: str) -> Sampled:
    """Current products that the champion had not learnt from, and what it knows; nothing is held while they are tried.

    Raises:
        NoChampion: there is nothing that could answer.
    """
    run = joined(run_id)
    spec, seed = registry.load(run.catalog), get_settings().seed
    record = need_champion(run)
    model, policy = artifact.load(record.folder), run.read("policy")

    def answer(frame: pl.DataFrame) -> pl.DataFrame:
        answers = model.predict(frame, reasons=False, threads=1)
        given = answers.select("label", "label_path", "confidence", "confidence_path")
        decided = decide(given, policy, record.version)["decision"]
        return frame.with_columns(*given.get_columns(), decided)

    pool = answer(watched.current_rows(run, spec, MOST_ROWS, seed, record))
    knowledge = Knowledge(artifact.vocabulary(record.folder), artifact.embedding(record.folder))
    world = World(spec, pool, knowledge, answer, seed)
    return Sampled(world, record.version)


@step("try detectors")
def try_detectors(sampled: Sampled, trials: int) -> list[Trial]:
    """Try every way of drawing and changing products."""
    wanted = ways(sampled.world, trials)
    found: list[Trial] = []
    for tried in self_test(sampled.world, wanted, get_settings().workers):
        found.append(tried)
        tell_progress("try detectors", len(found), len(wanted))
    return found


@step("write self-test")
def write_self_test(run_id: str, sampled: Sampled, tested: list[Trial]) -> Path:
    """Write the table; returns its page."""
    run = joined(run_id)
    artifact_table(f"self-test-{run.catalog}", [trial.as_dict() for trial in tested], "Drift detectors, tested")
    return self_test_page.write(
        run.reports,
        tested,
        catalog=run.catalog,
        run_id=run_id,
        model_version=sampled.model_version,
        pool=sampled.world.pool.height,
        sizes=SIZES,
        seed=sampled.world.seed,
    )
