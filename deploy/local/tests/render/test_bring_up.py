"""The progress and the summary of `arks up`."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from arks.local.files.state import Service, ServiceState
from arks.local.render.bring_up import (
    USEFUL_MODEL,
    Demo,
    masked,
    problems,
    progress_of,
    services_progress,
    summary,
    summary_with_demo,
)

KEY = "sk-PZ6NqvLZgtP2KhY-j8zWHoYgt0A0XqaU-AgMVIY4Qgg"


def application(**status: object) -> dict[str, object]:
    return {"metadata": {"name": "smollm2", "generation": 2}, "status": {"phase": "Running", **status}}


def test_a_status_of_the_last_run_is_not_shown_as_done() -> None:
    assert progress_of(application(observedGeneration=2, readyReplicas=1))[2]
    assert not progress_of(application(observedGeneration=1, readyReplicas=1))[2]
    assert not progress_of(application(observedGeneration=2, readyReplicas=0))[2]


def test_replicas_of_the_last_run_are_not_shown_as_done() -> None:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T12:00:05Z"}
    found = application(observedGeneration=2, readyReplicas=1, conditions=[ready])
    five_past = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC).timestamp()
    assert ("starts again", None, False) == progress_of(found, five_past + 1)
    assert progress_of(found, five_past + 0.9)[2]


def test_a_start_names_the_services_that_are_not_ready_and_no_fault() -> None:
    problem = "does not listen on port 27631"
    services = [
        Service("nats", ServiceState.STARTING, "", problem=problem),
        Service("valkey", ServiceState.READY, ""),
    ]
    assert ("1 of 2 ready; starting: nats", 0.5, False) == services_progress(services)
    assert ("1 of 1 ready", 1.0, True) == services_progress(services[1:])


def test_a_start_that_takes_too_long_names_what_it_waits_for() -> None:
    assert "  it waits for the demo's first answer: 503: loading" == problems(
        (), {}, "it waits for the demo's first answer: 503: loading"
    )


def test_a_key_is_printed_masked() -> None:
    assert "sk-PZ6N…4Qgg" == masked(KEY)
    assert "…" == masked("sk-short")


def shown(*, changed: tuple[str, ...] = (), answers: bool = True) -> str:
    demo = Demo(masked(KEY), Path("/home/ada/.arks/demo-key"), changed, answers)
    return summary_with_demo("http://localhost:8080/v1", demo, 6.1)


def test_the_summary_calls_the_demo_a_toy_and_names_the_next_steps() -> None:
    text = shown()
    assert KEY not in text
    assert "a toy of 135M parameters" in text
    for command in ('arks chat "Hello"', f"arks run {USEFUL_MODEL}", 'eval "$(arks env)"'):
        assert command in text
    assert f"arks run {USEFUL_MODEL}" in summary("http://localhost:8080/v1", 6.1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (shown(changed=("application",)), "you have changed the demo (application), so it was not touched"),
        (shown(answers=False), "`arks scale app smollm2 1` starts it"),
    ],
)
def test_the_summary_names_what_the_user_changed(text: str, expected: str) -> None:
    assert expected in text
