from datetime import UTC, datetime, timedelta
from typing import Any

from arks.kit.kube.event_reasons import newest_event

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(seconds: int, reason: str, type_: str = "Warning", **more: Any) -> dict[str, Any]:
    at = (NOW + timedelta(seconds=seconds)).isoformat()
    return {"metadata": {}, "lastTimestamp": at, "reason": reason, "message": "m", "type": type_, **more}


def test_the_newest_event_is_chosen() -> None:
    events = [event(1, "A"), event(3, "C"), event(2, "B"), event(4, "D", "Normal")]
    assert ("D", "m") == newest_event(events)
    assert ("C", "m") == newest_event(events, faults_only=True)
    assert ("", "") == newest_event([])
    series = event(0, "E", lastTimestamp=None, series={"lastObservedTime": "2026-01-02T00:00:00.123456Z"})
    assert ("E", "m") == newest_event([*events, series])


def test_of_one_second_the_warning_is_the_newest() -> None:
    """A pod is scheduled and its volume refused within a second; most events have whole seconds, some microseconds."""
    scheduled = event(1, "Scheduled", "Normal", lastTimestamp=None, eventTime="2026-01-01T00:00:01.900000Z")
    assert ("FailedAttachVolume", "m") == newest_event([event(1, "FailedAttachVolume"), scheduled])
