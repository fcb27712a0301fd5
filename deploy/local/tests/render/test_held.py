"""Who waits at the gateway for what, from demand reports and from autoscalers' statuses."""

from datetime import UTC, datetime

import pytest

from arks.events.v1.facts_pb2 import ScalingFact
from arks.events.v1.load_pb2 import DemandReport
from arks.local.render.held import Held, of_autoscalers, of_reports, sentence

FACT = ScalingFact(namespace="team", application="app", served_model="m", start_seconds=60)


def report(holder: str, held: int, seconds: float) -> DemandReport:
    return DemandReport(namespace="team", endpoint="chat", model="m", held=held, holder=holder, held_seconds=seconds)


def test_holders_are_summed_and_the_longest_wait_counts() -> None:
    reports = [(100.0, report("one", 3, 20.0)), (99.0, report("two", 2, 5.0))]
    assert [Held("team", "m", "app", 5, 21.0, 39.0)] == of_reports(reports, [FACT], 101.0)


def test_reports_of_a_holder_that_has_ended_do_not_count() -> None:
    assert [] == of_reports([(100.0, report("one", 3, 20.0))], [FACT], 106.0)


def test_statuses_name_the_application_and_the_expected_time() -> None:
    status = {
        "held": {
            "requests": 3,
            "model": "m",
            "since": "2026-10-01T12:00:00Z",
            "expectedTime": "2026-10-01T12:01:00Z",
        }
    }
    idle = {"metadata": {"namespace": "team", "name": "idle"}, "spec": {"target": {"name": "idle"}}}
    busy = {"metadata": {"namespace": "team", "name": "chat"}, "spec": {"target": {"name": "app"}}, "status": status}
    now = datetime(2026, 10, 1, 12, 0, 45, tzinfo=UTC)
    assert [Held("team", "m", "app", 3, 45.0, 15.0)] == of_autoscalers([idle, busy], now)


def test_requests_that_both_stages_start_for_are_shown_once_with_the_later_start() -> None:
    def stage(minute: int) -> dict[str, object]:
        held = {
            "requests": 3,
            "model": "m",
            "since": "2026-10-01T12:00:00Z",
            "expectedTime": f"2026-10-01T12:0{minute}:00Z",
        }
        metadata = {"namespace": "team", "name": f"stage-{minute}"}
        return {"metadata": metadata, "spec": {"target": {"name": "pd"}}, "status": {"held": held}}

    now = datetime(2026, 10, 1, 12, 0, 0, tzinfo=UTC)
    assert [Held("team", "m", "pd", 3, 0.0, 120.0)] == of_autoscalers([stage(2), stage(1)], now)


@pytest.mark.parametrize(
    ("held", "text"),
    [
        (
            Held("team", "m", "app", 3, 45.0, 15.0),
            "3 requests for team/m held for 45s, application app starts, ready in about 15s",
        ),
        (
            Held("team", "m", "app", 1, 70.0, -10.0),
            "1 request for team/m held for 70s, application app starts, 10s later than expected",
        ),
        (Held("team", "m", "", 1, 70.0), "1 request for team/m held for 70s"),
    ],
)
def test_a_sentence(held: Held, text: str) -> None:
    assert text == sentence(held)
