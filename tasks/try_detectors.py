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
    """What detectors are tested on, and where the page goes."""

    world: World
    reports: Path
    catalog: str
    run_id: str
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

    pool = answer(watched.current_rows(run, spec, MOST_ROWS, seed, scored=False))
    knowledge = Knowledge(artifact.vocabulary(record.folder), artifact.embedding(record.folder))
    world = World(spec, pool, knowledge, answer, seed)
    return Sampled(world, run.reports, run.catalog, run_id, record.version)


@step("try detectors")
def try_detectors(sampled: Sampled, trials: int) -> tuple[list[Trial], Path]:
    """Try every way of drawing and changing products, and write the table; returns it with the page."""
    world = sampled.world
    wanted = ways(world, trials)
    found = []
    for tried in self_test(world, wanted, get_settings().workers):
        found.append(tried)
        tell_progress("try detectors", len(found), len(wanted))
    page = self_test_page.write(
        sampled.reports,
        found,
        catalog=sampled.catalog,
        run_id=sampled.run_id,
        model_version=sampled.model_version,
        pool=world.pool.height,
        sizes=SIZES,
        seed=world.seed,
    )
    shown = [trial.as_dict() for trial in found]
    artifact_table(f"self-test-{sampled.catalog}", shown, "Drift detectors, tested")
    return found, page
