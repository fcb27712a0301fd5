"""Queries of Kubernetes Events: which, and how often."""

from datetime import timedelta
from typing import Any

from arks.app_deployer.adapters.kubernetes.start_faults import StartFaults
from arks.app_deployer.domain.pods import GroupRef, Pod
from arks.app_deployer.domain.start_faults import Expected
from arks.kit.errors import ArksError, Invalid
from arks.kit.key import Key
from arks.kit.kube.kinds import Kind
from arks.kit.testing.clock import FakeClock
from arks.kit.types import Json

REF = GroupRef(Key("default", "app"))
ONE = Expected("app", 1)
QUOTA = {
    "metadata": {},
    "type": "Warning",
    "reason": "FailedCreate",
    "message": "exceeded quota: gpus",
    "involvedObject": {"kind": "StatefulSet", "name": "app"},
}


class FakeEvents:
    def __init__(self) -> None:
        self.events: list[Json] = []
        self.queries: list[str] = []
        self.error: ArksError | None = None

    async def list(self, kind: Kind, namespace: str | None, labels: str = "", fields: str = "") -> tuple[Any, str]:
        assert ("Event", "default", "") == (kind.kind, namespace, labels)
        self.queries.append(fields)
        if self.error is not None:
            raise self.error
        return self.events, "1"


async def test_a_missing_pod_s_reason_is_queried_after_a_moment_and_then_at_intervals(clock: FakeClock) -> None:
    events = FakeEvents()
    events.events = [QUOTA]
    faults = StartFaults(events, clock)
    assert 2.0 == await faults.look(REF, ONE, [])
    assert [] == events.queries
    clock.advance(2.0)
    assert 10.0 == await faults.look(REF, ONE, [])
    missing = faults.of(REF).missing
    assert missing is not None
    assert ("FailedCreate", "exceeded quota: gpus") == (missing.reason, missing.message)
    clock.advance(4.0)
    assert 6.0 == await faults.look(REF, ONE, [])
    assert ["involvedObject.name=app"] == events.queries
    assert missing == faults.of(REF).missing


async def test_nothing_is_queried_while_nothing_waits_and_old_reasons_are_forgotten(clock: FakeClock) -> None:
    events = FakeEvents()
    faults = StartFaults(events, clock)
    waits = Pod("app-0", "u", "app", leader_name="app-0", created_at=clock.now() - timedelta(seconds=5))
    events.events = [QUOTA | {"reason": "FailedMount", "involvedObject": {"kind": "Pod", "name": "app-0"}}]
    assert 10.0 == await faults.look(REF, ONE, [waits])
    assert ["involvedObject.uid=u"] == events.queries
    assert ["FailedMount"] == [fault.reason for fault in faults.of(REF).pods.values()]
    runs = Pod("app-0", "u", "app", leader_name="app-0", running=True)
    assert await faults.look(REF, ONE, [runs]) is None
    assert {} == faults.of(REF).pods
    assert 1 == len(events.queries)


async def test_engines_are_written_although_events_cannot_be_read(clock: FakeClock) -> None:
    events = FakeEvents()
    events.error = Invalid("events is forbidden")
    faults = StartFaults(events, clock)
    await faults.look(REF, ONE, [])
    clock.advance(2.0)
    assert 10.0 == await faults.look(REF, ONE, [])
    assert faults.of(REF).missing is None
