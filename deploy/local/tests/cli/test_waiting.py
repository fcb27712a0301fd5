"""What `arks wait` and `apply --wait` wait for, and what they show meanwhile."""

from pathlib import Path
from typing import Any

import pytest

from arks.local.cli import waiting
from arks.local.cli.failure import Exit, Failure
from arks.local.render.kinds import APPLICATION, DISAGGREGATED, ENDPOINT, Kind

QWEN = waiting.Awaited(APPLICATION, "default", "qwen")


def application(
    *,
    generation: int = 2,
    observed: int = 2,
    ready: str = "True",
    rollout: str = "Complete",
    progressing: str = "True",
    message: str = "",
) -> dict[str, Any]:
    conditions = [
        {"type": "Ready", "status": ready, "reason": "Running", "message": message},
        {"type": "Progressing", "status": progressing, "reason": rollout, "message": message},
    ]
    metadata = {"name": "qwen", "namespace": "default", "generation": generation}
    status = {"observedGeneration": observed, "phase": "Running", "conditions": conditions}
    return {"kind": "ArksApplication", "metadata": metadata, "status": status}


def reads(monkeypatch: pytest.MonkeyPatch, *readings: dict[str, Any]) -> list[dict[str, Any]]:
    """Each reading once, the last one again and again; returns those that remain."""
    remaining = list(readings)

    def read(*_: object) -> dict[Any, Any]:
        return {APPLICATION: [remaining.pop(0) if len(remaining) > 1 else remaining[0]]}

    monkeypatch.setattr(waiting, "read", read)
    monkeypatch.setattr(waiting, "_POLL_SECONDS", 0.0)
    return remaining


@pytest.fixture(autouse=True)
def unready(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is not ready of the services, one look after the other; then nothing."""
    looks: list[list[str]] = []
    monkeypatch.setattr(waiting, "_unready_services", lambda _: looks.pop(0) if looks else [])
    return looks


def test_a_status_of_the_last_run_does_not_end_a_wait_while_services_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], unready: list[list[str]]
) -> None:
    reads(monkeypatch, application())
    unready += [["app-deployer", "envoy"]] * 2
    waiting.wait_ready(Path("/home"), [QWEN], 30)
    assert [] == unready
    assert ["services", "application"] == [line.split()[2] for line in capsys.readouterr().out.splitlines()]
    unready += [["envoy"]]
    with pytest.raises(Failure, match="services are not ready after 0 s: envoy"):
        waiting.wait_ready(Path("/home"), [QWEN], 0)


def test_it_ends_when_the_present_spec_is_carried_out_by_all_replicas(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    remaining = reads(
        monkeypatch,
        application(observed=1),
        application(rollout="RollingOut", message="1 of 2 replicas serve"),
        application(ready="False", message="0 of 2 replicas serve"),
        application(),
    )
    waiting.wait_ready(Path("/home"), [QWEN], 30)
    assert [application()] == remaining
    assert ["ready"] == [line.split()[-1] for line in capsys.readouterr().out.splitlines()]


def test_a_wait_that_is_too_long_names_what_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    reads(monkeypatch, application(rollout="RollingOut", message="1 of 2 replicas serve"))
    with pytest.raises(Failure, match=r"application qwen is not ready after 0 s: 1 of 2 replicas serve") as raised:
        waiting.wait_ready(Path("/home"), [QWEN], 0)
    assert Exit.TIMED_OUT == raised.value.code


@pytest.mark.parametrize("reason", ["NotEnoughMemory", "DeadlineExceeded"])
def test_a_rollout_that_cannot_end_ends_the_wait_with_its_reason(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    stuck = application(rollout=reason, progressing="False", message="1 of 9 replicas serve; 2 fit")
    reads(monkeypatch, application(observed=1, rollout=reason, progressing="False"), stuck)
    monkeypatch.setattr(waiting, "_FAILED_SECONDS", 0.0)
    with pytest.raises(Failure, match=r"application qwen is not ready: 1 of 9 replicas serve; 2 fit") as raised:
        waiting.wait_ready(Path("/home"), [QWEN], 30)
    assert Exit.FAILED == raised.value.code


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "Unschedulable", "WaitingForModel"])
def test_what_may_pass_before_the_deadline_of_a_rollout_does_not_end_the_wait(
    monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    reads(monkeypatch, *[application(rollout=reason, progressing="False", message="1 of 2")] * 3, application())
    monkeypatch.setattr(waiting, "_FAILED_SECONDS", 0.0)
    waiting.wait_ready(Path("/home"), [QWEN], 30)


def test_an_endpoint_has_not_failed_while_its_application_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large model loads for minutes, and until then its endpoint has no ready replicas."""
    metadata = {"name": "qwen", "namespace": "default", "generation": 1}
    without_replicas = {"type": "Ready", "status": "False", "reason": "NoReadyReplicas", "message": "no replicas"}
    status = {"observedGeneration": 1, "conditions": [without_replicas]}
    endpoint = {"kind": "ArksEndpoint", "metadata": metadata, "spec": {}, "status": status}
    starting = application(ready="False") | {"spec": {"model": {"name": "qwen"}}}
    starting["status"]["phase"] = "Creating"
    failed = starting | {"status": {**starting["status"], "phase": "Failed"}}
    readings = [starting] * 5 + [failed]

    def read(_: object, kinds: list[Kind]) -> dict[Kind, list[dict[str, Any]]]:
        found = {ENDPOINT: [endpoint], APPLICATION: [readings.pop(0)], DISAGGREGATED: []}
        return {kind: found[kind] for kind in kinds}

    monkeypatch.setattr(waiting, "read", read)
    monkeypatch.setattr(waiting, "_POLL_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "_FAILED_SECONDS", 0.0)
    with pytest.raises(Failure, match="endpoint qwen is not ready: no replicas"):
        waiting.wait_ready(Path("/home"), [waiting.Awaited(ENDPOINT, "default", "qwen")], 30)
    assert [] == readings
