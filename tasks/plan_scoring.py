"""Step: which products to score with which model."""

from __future__ import annotations

from datetime import UTC, datetime

from catalogs import registry
from core.errors import NoChampion, UsageError
from core.orchestration import step
from warehouse.past import moment
from warehouse.registry import champion, get
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
    record = now if model is None else get(run.home, run.catalog, run.read("models"), model)
    if record is None:
        raise NoChampion(
            f"there is no model of catalogue {run.catalog} yet", hint=f"train one: aisle train {run.catalog}"
        )
    window = _window(since, until)
    replaces = window is None or (now is not None and record.version == now.version)
    return plan(run, record, registry.load(run.catalog), window, replaces=replaces)


def _window(since: str | None, until: str | None) -> Window | None:
    if since is None and until is None:
        return None
    first = datetime.min.replace(tzinfo=UTC) if since is None else moment(since, "--since", end_of_day=False)
    last = datetime.now(UTC) if until is None else moment(until, "--until")
    if last < first:
        raise UsageError(f"{until or 'now'} is before {since}", where="--since", hint="give the earlier time first")
    return Window(first, last)
