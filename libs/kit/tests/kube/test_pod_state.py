from datetime import UTC, datetime
from typing import Any

import pytest

from arks.kit.kube.pod_state import STUCK, PodState, Terminated, Waiting, pod_state
from arks.kit.types import Json

ENDED = {"exitCode": 137, "reason": "OOMKilled", "message": "a\n\nb \n", "finishedAt": "2026-01-01T12:00:00.123456789Z"}


def pod(status: Json, **metadata: Any) -> PodState:
    spec = {"containers": [{"name": "main", "image": "engine:1"}], "initContainers": [{"name": "init", "image": "i:1"}]}
    return pod_state({"metadata": metadata, "spec": spec, "status": status})


def container(state: Json, **more: Any) -> Json:
    return {"containerStatuses": [{"name": "main", "image": "sha256:abc", "state": state, **more}]}


def test_a_new_pod_has_no_state() -> None:
    state = pod_state({"metadata": {}})
    assert (False, False, False, None) == (state.ready, state.deleting, state.ended, state.unscheduled)
    assert state.container("main") is None


def test_a_running_pod_is_ready_by_its_condition() -> None:
    state = pod({"conditions": [{"type": "Ready", "status": "True"}], **container({"running": {}})})
    main = state.container("leader", "main")
    assert state.ready
    assert main is not None
    assert (True, "engine:1") == (main.running, main.image)
    assert [] == list(state.waiting())


def test_a_deleted_pod_is_deleting() -> None:
    assert pod({}, deletionTimestamp="2026-01-01T12:00:00Z").deleting


def test_an_unscheduled_pod_has_the_reason_and_its_time() -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes",
        "lastTransitionTime": "2026-01-01T12:00:00Z",
    }
    state = pod({"conditions": [condition]})
    assert state.unschedulable
    assert Waiting("Unschedulable", "0/3 nodes") == state.unscheduled
    assert datetime(2026, 1, 1, 12, tzinfo=UTC) == state.unscheduled_since
    assert not pod({"conditions": [condition | {"reason": "SchedulingGated"}]}).unschedulable


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
def test_a_failed_pull_and_the_pause_after_it_have_one_reason(reason: str) -> None:
    ((_, waiting),) = pod(container({"waiting": {"reason": reason, "message": "x"}})).waiting()
    assert "ImagePullBackOff" == waiting.settled_reason
    assert waiting.settled_reason in STUCK
    assert not waiting.starting


def test_init_containers_come_first() -> None:
    waits = {"waiting": {"reason": "PodInitializing"}}
    state = pod({"initContainerStatuses": [{"name": "init", "state": waits}], **container(waits)})
    assert [("init", True), ("main", False)] == [(found.name, found.init) for found, _ in state.waiting()]
    assert all(waiting.starting for _, waiting in state.waiting())


def test_the_last_end_is_that_of_this_run_or_of_the_run_before() -> None:
    ended = pod(container({"terminated": ENDED})).container("main")
    restarted = pod(container({"running": {}}, restartCount=1, lastState={"terminated": ENDED})).container("main")
    waiting = pod(
        container({"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": ENDED}, restartCount=2)
    ).container("main")
    assert ended is not None
    assert restarted is not None
    assert waiting is not None
    finished_at = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
    assert Terminated(137, "OOMKilled", "a\n\nb \n", finished_at) == ended.ended == restarted.ended
    assert ended.ended is not None
    assert ended.ended.out_of_memory
    assert ["a", "b"] == ended.ended.lines
    assert (1, 1, 3) == (ended.ends, restarted.ends, waiting.ends)
