"""Reasons that only Kubernetes Events have: why an object is not made, not bound, not mounted. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime

from arks.kit.kube.lenient import time_in
from arks.kit.types import Json

WARNING = "Warning"
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_MESSAGE_CHARACTERS = 1000


def newest_event(events: Sequence[Json], *, faults_only: bool = False) -> tuple[str, str]:
    """Reason and message of the newest Kubernetes Event; empty if there is none."""
    newest = newest_of([event for event in events if not faults_only or event.get("type") == WARNING])
    return ("", "") if newest is None else reason_and_message(newest)


def newest_of(events: Sequence[Json]) -> Json | None:
    """The newest Kubernetes Event; of one second, the last warning. None if there is none."""
    return max(events, key=lambda event: (_time(event), event.get("type") == WARNING), default=None)


def reason_and_message(event: Json) -> tuple[str, str]:
    return str(event.get("reason", "")), str(event.get("message", ""))[:_MESSAGE_CHARACTERS]


def _time(event: Json) -> datetime:
    """When it happened last, in whole seconds: most writers give no more."""
    series = event.get("series") or {}
    given = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    found = time_in(given or event["metadata"].get("creationTimestamp")) or _NO_TIME
    return found.replace(microsecond=0)
