"""What others are told of a run: events, and the channels that they go out by.

A channel is called with every event. The webhook is one; core.orchestration adds Prefect when it is imported. Telling
is best effort: a channel that fails is logged, and no run fails because nobody listened.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from core import webhook

__all__ = ["NAMES", "Event", "EventName", "deliver_by", "tell"]

EventName = Literal[
    "aisle.drift",
    "aisle.retrain",
    "aisle.challenger.refused",
    "aisle.model.promoted",
    "aisle.data.stale",
    "aisle.run.failed",
]
NAMES: tuple[EventName, ...] = get_args(EventName)

Channel = Callable[["Event"], None]

log = logging.getLogger("aisle.events")


@dataclass(frozen=True)
class Event:
    """Something that somebody may want to act on.

    Attributes:
        event: which one.
        catalog: whose.
        run_id: the run that found it; None where a run failed before it had an id.
        summary: a sentence for people.
        facts: the same for machines, JSON-ready.
        time: when it was found, UTC.
    """

    event: EventName
    catalog: str
    run_id: str | None
    summary: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def resource(self) -> str:
        """What it is about, as Prefect's automations match it."""
        return f"aisle.catalog.{self.catalog}"

    def as_dict(self) -> dict[str, Any]:
        """The event as it is sent to a webhook."""
        return {
            "event": self.event,
            "catalog": self.catalog,
            "run_id": self.run_id,
            "time": self.time.isoformat(timespec="milliseconds"),
            "summary": self.summary,
            "facts": dict(self.facts),
        }


def _by_webhook(event: Event) -> None:
    webhook.post(event.as_dict())


_channels: list[Channel] = [_by_webhook]


def deliver_by(channel: Channel) -> Callable[[], None]:
    """Have `channel` called with every event told in this process; returns what stops it."""
    _channels.append(channel)
    return lambda: _channels.remove(channel)


def tell(event: Event) -> None:
    """Tell an event on every channel, now."""
    for channel in _channels:
        try:
            channel(event)
        except Exception as error:  # noqa: BLE001 - whatever a channel may meet: what happened has happened
            log.warning("%s of %s could not be told: %s", event.event, event.catalog, type(error).__name__)
