"""What monitoring gives back: plain facts, for eyes and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from reports.self_test_page import met, said
from tasks.as_dict import AsDict

if TYPE_CHECKING:
    from reports.self_test import Trial
    from tasks.check_freshness import Freshness
    from tasks.decide_retraining import Retraining
    from tasks.measure_drift import Seen
    from tasks.try_detectors import Sampled
    from warehouse.runs import Run


@dataclass(frozen=True)
class MonitorResult(AsDict):
    """What monitoring saw.

    Attributes:
        drifted: in either comparison; None where there was too little to compare for a verdict in both.
        summary: of the whole catalogue.
        arrivals: drifted and summary of what came in since the last look.
        freshness: last (change of any product, UTC), stale (None without a limit) and summary.
        retraining: wanted, summary, and rules: rule, value, limit, met, why.
    """

    catalog: str
    run_id: str
    drifted: bool | None
    summary: str
    arrivals: dict[str, Any]
    freshness: dict[str, Any]
    retraining: dict[str, Any]
    reports: dict[str, str]

    @classmethod
    def of(cls, run: Run, fresh: Freshness, whole: Seen, arrived: Seen, retraining: Retraining, index: Path) -> Self:
        """From what the steps found."""
        verdicts = [seen.drifted for seen in (whole, arrived) if seen.drifted is not None]
        return cls(
            catalog=run.catalog,
            run_id=run.run_id,
            drifted=any(verdicts) if verdicts else None,
            summary=whole.summary,
            arrivals={"drifted": arrived.drifted, "summary": arrived.summary},
            freshness=asdict(fresh) | {"last": fresh.last and fresh.last.isoformat(timespec="seconds")},
            retraining=asdict(retraining),
            reports={"drift": str(whole.report), "arrivals": str(arrived.report), "index": str(index)},
        )


@dataclass(frozen=True)
class SelfTestResult(AsDict):
    """How the drift detectors did.

    Attributes:
        met: all goals were reached.
        summary: in a sentence.
        products: that were drawn from.
        trials: comparison, drift (None where nothing has changed), drawn, rows, trials, alarms, share, interval, met,
            named.
    """

    catalog: str
    run_id: str
    met: bool
    summary: str
    products: int
    trials: list[dict[str, Any]]
    reports: dict[str, str]

    @classmethod
    def of(cls, run: Run, sampled: Sampled, tested: list[Trial], reports: dict[str, str]) -> Self:
        """From what the steps found."""
        return cls(
            catalog=run.catalog,
            run_id=run.run_id,
            met=met(tested),
            summary=said(tested),
            products=sampled.world.pool.height,
            trials=[trial.as_dict() for trial in tested],
            reports=reports,
        )
