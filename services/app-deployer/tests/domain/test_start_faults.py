"""What Kubernetes Events mean for pods that are missing or wait."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from arks.app_deployer.domain.pods import Pod, Trouble
from arks.app_deployer.domain.start_faults import (
    Expected,
    creation_fault,
    missing,
    needs_events,
    node_expected,
    silent_fault,
    start_fault,
)
from arks.kit.testing.values import texts

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUOTA = 'create Pod app-0 in StatefulSet app failed error: pods "app-0" is forbidden: exceeded quota: gpus'
SET = Expected("app", 2, 2)


def pod(name: str, **fields: Any) -> Pod:
    leader = name.count("-") == 1
    return Pod(name, f"uid-{name}", "app", leader=leader, leader_name=name if leader else name[:5], **fields)


def event(reason: str, message: str = "", about: str = "StatefulSet/app", second: int = 0, **more: Any) -> Any:
    kind, _, name = about.partition("/")
    at = (NOW + timedelta(seconds=second)).isoformat()
    involved = {"kind": kind, "name": name}
    made = {"metadata": {}, "involvedObject": involved, "lastTimestamp": at, "reason": reason, "message": message}
    return made | {"type": "Warning"} | more


def test_sets_lack_leaders_and_leaders_lack_workers() -> None:
    assert ["app"] == missing(SET, [pod("app-0"), pod("app-0-1")])
    assert ["app-1"] == missing(SET, [pod("app-0"), pod("app-0-1"), pod("app-1")])
    assert [] == missing(SET, [pod("app-0"), pod("app-0-1"), pod("app-1"), pod("app-1-1")])


def test_a_refused_pod_has_its_reason() -> None:
    made = event("SuccessfulCreate", second=1, type="Normal")
    assert Trouble("FailedCreate", QUOTA) == creation_fault(
        [made, event("FailedCreate", QUOTA, second=2)], SET, ["app"]
    )
    assert creation_fault([event("FailedCreate", QUOTA), made], SET, ["app"]) is None, "it was made since"


def test_events_of_other_objects_are_no_reason() -> None:
    others = [event("FailedCreate", about="StatefulSet/other"), event("failed", about="ArksApplication/app")]
    assert creation_fault(others, SET, ["app"]) is None


def test_a_deployment_is_refused_through_its_replica_sets() -> None:
    router = Expected("app-router", 1, by_replica_sets=True)
    events = [event("FailedCreate", QUOTA, about="ReplicaSet/app-router-5d4"), event("Other", about="ReplicaSet/a-5d4")]
    assert Trouble("FailedCreate", QUOTA) == creation_fault(events, router, ["app-router"])


def test_a_volume_that_another_node_holds_is_the_reason_until_the_pod_goes_on() -> None:
    held = event("FailedAttachVolume", "Multi-Attach error for volume", about="Pod/app-1")
    scheduled = event("Scheduled", about="Pod/app-1", type="Normal")
    assert Trouble("FailedAttachVolume", "Multi-Attach error for volume") == start_fault([held, scheduled])
    assert start_fault([held, event("Pulling", about="Pod/app-1", second=1, type="Normal")]) is None
    assert start_fault([]) is None


def test_events_are_queried_for_pods_that_wait_for_some_seconds() -> None:
    old, young = NOW - timedelta(seconds=3), NOW - timedelta(seconds=1)
    assert needs_events(pod("app-0", created_at=old), NOW)
    assert not needs_events(pod("app-0", created_at=young), NOW)
    assert not needs_events(pod("app-0", created_at=old, running=True), NOW)
    no_node = Trouble("Unschedulable", "no node")
    assert needs_events(pod("app-0", created_at=old, trouble=no_node, unschedulable_since=old), NOW)
    assert not needs_events(pod("app-0", created_at=old, trouble=no_node), NOW)


def test_autoscalers_announce_nodes() -> None:
    assert node_expected([event("TriggeredScaleUp", type="Normal")])
    assert not node_expected([event("NotTriggerScaleUp", type="Normal")])


def test_a_set_without_pods_and_events_has_no_controller() -> None:
    assert silent_fault(SET, [], 29.0) is None
    found = silent_fault(SET, [], 30.0)
    assert found is not None
    assert ("NoPods", True) == (found.reason, "controller of LeaderWorkerSet runs" in found.message)
    assert silent_fault(SET, [pod("app-0")], 30.0) is None
    assert silent_fault(Expected("app-router", 1, by_replica_sets=True), [], 30.0) is None, "Kubernetes' own controller"


@given(
    st.fixed_dictionaries(
        {"metadata": st.fixed_dictionaries({}, optional={"creationTimestamp": texts})},
        optional={
            "involvedObject": st.fixed_dictionaries({}, optional={"kind": st.just("StatefulSet"), "name": texts}),
            "type": st.sampled_from(["Warning", "Normal"]),
            "reason": texts,
            "message": texts,
            "lastTimestamp": texts,
        },
    )
)
def test_no_event_raises(event: Any) -> None:
    assert isinstance(start_fault([event]), Trouble | None)
    assert isinstance(creation_fault([event], SET, ["app"]), Trouble | None)
    assert node_expected([event]) in {True, False}
