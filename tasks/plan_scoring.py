"""Step: which products to score with which model."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from catalogs import registry
from catalogs.spec import CatalogSpec, FieldSpec
from classifier.artifact import manifest
from core.errors import ArtifactDamaged, UsageError
from core.orchestration import step
from warehouse.past import moment
from warehouse.registry import ModelRecord, champion, get, need_champion
from warehouse.runs import joined
from warehouse.scoring import Plan, Window, plan


@step("plan scoring")
def plan_scoring(run_id: str, model: str | None, since: str | None = None, until: str | None = None) -> Plan:
    """Partition what the champion, or the model named, has not answered for.

    With `since` or `until` (a date or a time, in UTC) only what was stored then. Such a backfill fills the history;
    current answers are replaced by the champion's alone.

    Raises:
        UsageError: `since` or `until` is no time, or they are the wrong way round.
        NoChampion: nothing was promoted yet.
        UnknownModel: no such version.
    """
    run = joined(run_id)
    now = champion(run)
    record = need_champion(run) if model is None else get(run.home, run.catalog, run.read("models"), model)
    window = _window(since, until)
    replaces = window is None or (now is not None and record.version == now.version)
    spec = registry.load(run.catalog)
    return replace(plan(run, record, spec, window, replaces=replaces), notes=_read_otherwise(record, spec))


def _read_otherwise(record: ModelRecord, spec: CatalogSpec) -> list[str]:
    """A sentence on fields that the catalogue's file had read in another way when the model was trained."""
    try:
        then = CatalogSpec.model_validate(manifest(record.folder)["catalog"])
    except (ArtifactDamaged, KeyError, TypeError, ValueError):  # loading says so, if there is anything to score
        return []
    known = {field.name: _manner(field) for field in then.fields}
    changed = [field.name for field in spec.fields if known.get(field.name, _manner(field)) != _manner(field)]
    said = (
        f"{record.version} learnt {', '.join(changed)} as the catalogue's file had it read then, which is not as it is "
        f"now: ingest the whole source again and train (aisle train {spec.name})"
    )
    return [said] if changed else []


def _manner(field: FieldSpec) -> tuple[Any, ...]:
    return field.kind, field.html, field.host


def _window(since: str | None, until: str | None) -> Window | None:
    if since is None and until is None:
        return None
    first = datetime.min.replace(tzinfo=UTC) if since is None else moment(since, "--since", end_of_day=False)
    last = datetime.now(UTC) if until is None else moment(until, "--until")
    if last < first:
        raise UsageError(f"{until or 'now'} is before {since}", where="--since", hint="give the earlier time first")
    return Window(first, last)
