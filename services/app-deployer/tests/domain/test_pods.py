"""What pods as the API server shows them mean."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from arks.app_deployer.adapters.kubernetes.pods import read_pod
from arks.app_deployer.domain.pods import History, Pod, Told, first_look, next_look, replica_of
from arks.app_deployer.domain.workload import Replica, ReplicaState, ReplicaVerb

NOW = datetime(2026, 1, 1, tzinfo=UTC)
THEN = "2026-01-01T00:00:00Z"
RUNNING: dict[str, Any] = {"running": {"startedAt": THEN}}
ENDED = {"terminated": {"exitCode": 3, "reason": "Error", "message": "one\n\nlast words\n"}}
KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
READY = {"type": "Ready", "status": "True"}
NO_NODE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
    "lastTransitionTime": THEN,
}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def pod(
    state: dict[str, Any] | None = None,
    *conditions: dict[str, Any],
    name: str = "app-0",
    last: dict[str, Any] | None = None,
    restarts: int = 0,
    labels: dict[str, str] | None = None,
    init: dict[str, Any] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    made = {"arks.ai/application": "app", "arks.ai/work-load-role": "leader"} | (labels or {})
    container = {"name": "leader", "image": "sha256:1", "restartCount": restarts, "state": state or {}}
    status: dict[str, Any] = {"phase": "Running", "podIP": "10.0.0.1", "conditions": list(conditions)}
    if state is not None:
        status["containerStatuses"] = [container | {"lastState": last or {}}]
    if init is not None:
        status["initContainerStatuses"] = [{"name": "fetch", "image": "i", "restartCount": 1, "lastState": {}} | init]
    spec = {
        "initContainers": [{"name": "fetch", "image": "fetch:1"}],
        "containers": [{"name": "leader", "image": "engine:1", "ports": [{"name": "http", "containerPort": 8080}]}],
    }
    annotations = {"arks.ai/revision": "r1", "arks.ai/slots": "4"}
    about = {"name": name, "namespace": "default", "uid": "u1", "labels": made, "annotations": annotations} | metadata
    return {"metadata": about, "spec": spec, "status": status}


def read(obj: dict[str, Any]) -> Pod:
    found = read_pod(obj)
    assert found is not None
    return found


def seen(obj: dict[str, Any], *workers: dict[str, Any], revision: str = "r1") -> Replica:
    leader = read(obj)
    return replica_of(leader, [read(one) for one in workers], first_look(leader, NOW), revision)


def worker(state: dict[str, Any] | None = None, *conditions: dict[str, Any]) -> dict[str, Any]:
    made = pod(state, *conditions, name="app-0-1", labels={"arks.ai/work-load-role": "worker"})
    for one in made["status"].get("containerStatuses", []):
        one["name"] = "worker"
    return made


@pytest.mark.parametrize(
    ("why", "given", "expected"),
    [
        ("not placed yet", pod(), (ReplicaState.STARTING, "", "")),
        ("its image is pulled", pod(waiting("ContainerCreating")), (ReplicaState.STARTING, "", "")),
        ("its weights load", pod(RUNNING), (ReplicaState.LOADING, "", "")),
        ("it serves", pod(RUNNING, READY), (ReplicaState.READY, "", "")),
        ("it leaves", pod(RUNNING, READY, deletionTimestamp=THEN), (ReplicaState.DRAINING, "", "")),
        ("no node", pod(None, NO_NODE), (ReplicaState.FAILED, "Unschedulable", NO_NODE["message"])),
        (
            "no image",
            pod(waiting("ErrImagePull", "not found")),
            (ReplicaState.FAILED, "ImagePullBackOff", 'Back-off pulling image "engine:1": ErrImagePull: not found'),
        ),
        (
            "still no image",
            pod(waiting("ImagePullBackOff", "Back-off ...")),
            (ReplicaState.FAILED, "ImagePullBackOff", "Back-off ..."),
        ),
        (
            "a secret is missing",
            pod(waiting("CreateContainerConfigError", 'secret "x" not found')),
            (ReplicaState.FAILED, "CreateContainerConfigError", 'secret "x" not found'),
        ),
        (
            "it ended",
            pod(ENDED),
            (ReplicaState.BACK_OFF, "", "it ended with status 3; its last lines: one\nlast words"),
        ),
        (
            "it ends again and again",
            pod(waiting("CrashLoopBackOff", "back-off 40s"), last=KILLED, restarts=2),
            (ReplicaState.FAILED, "", "it ended with status 137 (OOMKilled)"),
        ),
        (
            "it is tried once more",
            pod(RUNNING, last=KILLED, restarts=3),
            (ReplicaState.LOADING, "", "it ended with status 137 (OOMKilled)"),
        ),
        ("it served well after an end", pod(RUNNING, READY, last=KILLED, restarts=3), (ReplicaState.READY, "", "")),
        (
            "an init container ends again and again",
            pod(waiting("PodInitializing"), init={"state": waiting("CrashLoopBackOff"), "lastState": ENDED}),
            (
                ReplicaState.FAILED,
                "InitContainerCrashLoop",
                "container fetch: it ended with status 3; its last lines: one\nlast words",
            ),
        ),
    ],
)
def test_states_of_a_pod_are_states_of_a_replica(
    why: str, given: dict[str, Any], expected: tuple[ReplicaState, str, str]
) -> None:
    found = seen(given)
    assert (why, *expected) == (why, found.state, found.reason, found.message)


def test_a_pod_that_was_evicted_says_why() -> None:
    evicted = pod()
    evicted["status"] |= {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory"}
    found = seen(evicted)
    assert (ReplicaState.FAILED, "Evicted", "The node was low on memory") == (found.state, found.reason, found.message)


def test_a_replica_has_its_pod_s_address_slots_and_revision() -> None:
    found = seen(pod(RUNNING, READY))
    assert ("app-0", "10.0.0.1", 8080, 4, True) == (found.name, found.host, found.port, found.slots, found.updated)
    assert not seen(pod(RUNNING, READY), revision="r2").updated
    unplaced = pod()
    del unplaced["status"]["podIP"]
    assert ("", 0) == (seen(unplaced).host, seen(unplaced).port)


def test_a_leader_says_what_keeps_its_workers() -> None:
    found = seen(pod(RUNNING), worker(None, NO_NODE))
    assert "Unschedulable" == found.reason
    assert f"app-0-1: {NO_NODE['message']}" == found.message
    assert "" == seen(pod(RUNNING, READY), worker(None, NO_NODE)).reason


def test_pods_of_others_are_nobody_s() -> None:
    assert read_pod(pod(labels={"arks.ai/application": "app"})) is not None
    other = pod()
    del other["metadata"]["labels"]["arks.ai/work-load-role"]
    assert read_pod(other) is None
    other["metadata"]["labels"]["arks.ai/disaggregation-role"] = "router"
    assert "router" == read(other).part


def test_a_worker_belongs_to_its_leader() -> None:
    found = read(worker())
    assert (False, "app-0", 0) == (found.leader, found.leader_name, found.index)


def look(history: History | None, obj: dict[str, Any] | None, seconds: float = 0.0) -> tuple[History, list[Told]]:
    now = NOW + timedelta(seconds=seconds)
    found, told = next_look(history, None if obj is None else read(obj), now, stable_seconds=30.0)
    assert found is not None
    return found, told


def verbs(told: list[Told]) -> list[ReplicaVerb]:
    return [one.verb for one in told]


STARTED, SERVES, EXITED = ReplicaVerb.STARTED, ReplicaVerb.READY, ReplicaVerb.EXITED


def test_a_replica_s_life_is_told_once() -> None:
    history, told = look(None, pod())
    assert [STARTED] == verbs(told)
    for state, expected in ((pod(RUNNING), []), (pod(RUNNING, READY), [SERVES]), (pod(RUNNING, READY), [])):
        history, told = look(history, state)
        assert expected == verbs(told)
    history, told = look(history, None)
    assert [EXITED] == verbs(told)
    assert [] == verbs(look(history, None)[1])


def test_an_end_in_its_pod_is_one_restart_and_one_failure() -> None:
    history, _ = look(None, pod(RUNNING, READY))
    history, told = look(history, pod(ENDED))
    assert [
        Told(
            EXITED, "EngineEnded", "app-0: it ended with status 3; its last lines: one\nlast words", told[0].last_lines
        )
    ] == told
    assert ("one", "last words") == told[0].last_lines
    history, told = look(history, pod(RUNNING, last=ENDED, restarts=1))
    assert ([], 1, 1) == (told, history.restarts, history.failures)
    history, told = look(history, pod(RUNNING, READY, last=ENDED, restarts=1))
    assert ([SERVES], "") == (verbs(told), history.message)


def test_ends_in_a_row_add_up_until_it_has_served_well() -> None:
    history, _ = look(None, pod(RUNNING))
    for restarts in range(3):
        history, _ = look(history, pod(waiting("CrashLoopBackOff"), last=ENDED, restarts=restarts))
    assert 3 == history.failures
    history, _ = look(history, pod(RUNNING, READY, last=ENDED, restarts=3))
    early, _ = look(history, pod(ENDED, restarts=3), seconds=29.0)
    late, _ = look(history, pod(ENDED, restarts=3), seconds=31.0)
    assert (4, 1) == (early.failures, late.failures)


def test_ends_add_up_over_pods_that_are_made_anew_after_each() -> None:
    history: History | None = None
    for number in range(3):
        history, _ = look(history, pod(RUNNING, uid=str(number)))
        history, _ = look(history, pod(ENDED, uid=str(number)))
        history, _ = look(history, None)
    assert history is not None
    assert (3, 2) == (history.failures, history.restarts)


def test_a_new_pod_of_the_same_name_has_started_again() -> None:
    history, _ = look(None, pod(RUNNING, READY))
    history, told = look(history, pod(RUNNING, READY, uid="u2"))
    assert ([EXITED, STARTED, SERVES], 1) == (verbs(told), history.restarts)


def test_restarts_that_were_counted_before_us_are_kept() -> None:
    assert 5 == first_look(read(pod(RUNNING, restarts=2)), NOW, restarts_known=5).restarts
    assert 2 == first_look(read(pod(RUNNING, restarts=2)), NOW, restarts_known=1).restarts
