"""What pods as the API server shows them mean."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from arks.app_deployer.adapters.kubernetes.pods import read_pod
from arks.app_deployer.domain.pods import History, Pod, ReplicaNotice, first_history, next_history, replica_of
from arks.app_deployer.domain.workload import ObservedReplica, ReplicaVerb
from arks.contracts.resources import InstanceState

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
    pod_metadata = {
        "name": name,
        "namespace": "default",
        "uid": "u1",
        "labels": made,
        "annotations": annotations,
    } | metadata
    return {"metadata": pod_metadata, "spec": spec, "status": status}


def read(obj: dict[str, Any]) -> Pod:
    found = read_pod(obj)
    assert found is not None
    return found


def observed(obj: dict[str, Any], *workers: dict[str, Any], revision: str = "r1") -> ObservedReplica:
    leader = read(obj)
    return replica_of(leader, [read(item) for item in workers], first_history(leader, NOW), revision)


def worker(state: dict[str, Any] | None = None, *conditions: dict[str, Any]) -> dict[str, Any]:
    made = pod(state, *conditions, name="app-0-1", labels={"arks.ai/work-load-role": "worker"})
    for item in made["status"].get("containerStatuses", []):
        item["name"] = "worker"
    return made


@pytest.mark.parametrize(
    ("why", "given", "expected"),
    [
        ("not placed yet", pod(), (InstanceState.STARTING, "", "")),
        ("its image is pulled", pod(waiting("ContainerCreating")), (InstanceState.STARTING, "", "")),
        ("its weights load", pod(RUNNING), (InstanceState.LOADING, "", "")),
        ("it serves", pod(RUNNING, READY), (InstanceState.READY, "", "")),
        ("it leaves", pod(RUNNING, READY, deletionTimestamp=THEN), (InstanceState.DRAINING, "", "")),
        ("no node", pod(None, NO_NODE), (InstanceState.FAILED, "Unschedulable", NO_NODE["message"])),
        (
            "no image",
            pod(waiting("ErrImagePull", "not found")),
            (InstanceState.FAILED, "ImagePullBackOff", 'Back-off pulling image "engine:1": ErrImagePull: not found'),
        ),
        (
            "still no image",
            pod(waiting("ImagePullBackOff", "Back-off ...")),
            (InstanceState.FAILED, "ImagePullBackOff", "Back-off ..."),
        ),
        (
            "a secret is missing",
            pod(waiting("CreateContainerConfigError", 'secret "x" not found')),
            (InstanceState.FAILED, "CreateContainerConfigError", 'secret "x" not found'),
        ),
        (
            "it ended",
            pod(ENDED),
            (InstanceState.BACK_OFF, "", "it ended with status 3; its last lines: one\nlast words"),
        ),
        (
            "it ends again and again",
            pod(waiting("CrashLoopBackOff", "back-off 40s"), last=KILLED, restarts=2),
            (InstanceState.FAILED, "", "it ended with status 137 (OOMKilled)"),
        ),
        (
            "it is tried once more",
            pod(RUNNING, last=KILLED, restarts=3),
            (InstanceState.LOADING, "", "it ended with status 137 (OOMKilled)"),
        ),
        ("it served well after an end", pod(RUNNING, READY, last=KILLED, restarts=3), (InstanceState.READY, "", "")),
        (
            "an init container ends again and again",
            pod(waiting("PodInitializing"), init={"state": waiting("CrashLoopBackOff"), "lastState": ENDED}),
            (
                InstanceState.FAILED,
                "InitContainerCrashLoop",
                "container fetch: it ended with status 3; its last lines: one\nlast words",
            ),
        ),
    ],
)
def test_states_of_a_pod_are_states_of_a_replica(
    why: str, given: dict[str, Any], expected: tuple[InstanceState, str, str]
) -> None:
    found = observed(given)
    assert (why, *expected) == (why, found.state, found.reason, found.message)


def test_an_evicted_pod_has_its_reason() -> None:
    evicted = pod()
    evicted["status"] |= {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory"}
    found = observed(evicted)
    assert (InstanceState.FAILED, "Evicted", "The node was low on memory") == (found.state, found.reason, found.message)


def test_a_replica_has_its_pod_s_address_slots_and_revision() -> None:
    found = observed(pod(RUNNING, READY))
    assert ("app-0", "10.0.0.1", 8080, 4, True) == (found.name, found.host, found.port, found.slots, found.updated)
    assert not observed(pod(RUNNING, READY), revision="r2").updated
    unplaced = pod()
    del unplaced["status"]["podIP"]
    assert ("", 0) == (observed(unplaced).host, observed(unplaced).port)


def test_a_leader_has_the_reason_of_its_workers() -> None:
    found = observed(pod(RUNNING), worker(None, NO_NODE))
    assert "Unschedulable" == found.reason
    assert f"app-0-1: {NO_NODE['message']}" == found.message
    assert "" == observed(pod(RUNNING, READY), worker(None, NO_NODE)).reason


def test_pods_of_other_programs_are_ignored() -> None:
    assert read_pod(pod(labels={"arks.ai/application": "app"})) is not None
    other = pod()
    del other["metadata"]["labels"]["arks.ai/work-load-role"]
    assert read_pod(other) is None
    other["metadata"]["labels"]["arks.ai/disaggregation-role"] = "router"
    assert "router" == read(other).part


def test_a_worker_belongs_to_its_leader() -> None:
    found = read(worker())
    assert (False, "app-0", 0) == (found.leader, found.leader_name, found.index)


def observe(
    history: History | None, obj: dict[str, Any] | None, seconds: float = 0.0
) -> tuple[History, list[ReplicaNotice]]:
    now = NOW + timedelta(seconds=seconds)
    found, notices = next_history(history, None if obj is None else read(obj), now, stable_seconds=30.0)
    assert found is not None
    return found, notices


def verbs(notices: list[ReplicaNotice]) -> list[ReplicaVerb]:
    return [item.verb for item in notices]


STARTED, SERVES, EXITED = ReplicaVerb.STARTED, ReplicaVerb.READY, ReplicaVerb.EXITED


def test_each_change_of_a_replica_is_reported_once() -> None:
    history, notices = observe(None, pod())
    assert [STARTED] == verbs(notices)
    for state, expected in ((pod(RUNNING), []), (pod(RUNNING, READY), [SERVES]), (pod(RUNNING, READY), [])):
        history, notices = observe(history, state)
        assert expected == verbs(notices)
    history, notices = observe(history, None)
    assert [EXITED] == verbs(notices)
    assert [] == verbs(observe(history, None)[1])


def test_an_end_in_its_pod_is_one_restart_and_one_failure() -> None:
    history, _ = observe(None, pod(RUNNING, READY))
    history, notices = observe(history, pod(ENDED))
    assert [
        ReplicaNotice(
            EXITED,
            "EngineEnded",
            "app-0: it ended with status 3; its last lines: one\nlast words",
            notices[0].last_lines,
        )
    ] == notices
    assert ("one", "last words") == notices[0].last_lines
    history, notices = observe(history, pod(RUNNING, last=ENDED, restarts=1))
    assert ([], 1, 1) == (notices, history.restarts, history.failures)
    history, notices = observe(history, pod(RUNNING, READY, last=ENDED, restarts=1))
    assert ([SERVES], "") == (verbs(notices), history.message)


def test_ends_in_a_row_add_up_until_it_has_served_well() -> None:
    history, _ = observe(None, pod(RUNNING))
    for restarts in range(3):
        history, _ = observe(history, pod(waiting("CrashLoopBackOff"), last=ENDED, restarts=restarts))
    assert 3 == history.failures
    history, _ = observe(history, pod(RUNNING, READY, last=ENDED, restarts=3))
    early, _ = observe(history, pod(ENDED, restarts=3), seconds=29.0)
    late, _ = observe(history, pod(ENDED, restarts=3), seconds=31.0)
    assert (4, 1) == (early.failures, late.failures)


def test_ends_add_up_over_pods_that_are_made_anew_after_each() -> None:
    history: History | None = None
    for number in range(3):
        history, _ = observe(history, pod(RUNNING, uid=str(number)))
        history, _ = observe(history, pod(ENDED, uid=str(number)))
        history, _ = observe(history, None)
    assert history is not None
    assert (3, 2) == (history.failures, history.restarts)


def test_a_new_pod_of_the_same_name_has_started_again() -> None:
    history, _ = observe(None, pod(RUNNING, READY))
    history, notices = observe(history, pod(RUNNING, READY, uid="u2"))
    assert ([EXITED, STARTED, SERVES], 1) == (verbs(notices), history.restarts)


def test_restarts_that_were_counted_before_us_are_kept() -> None:
    assert 5 == first_history(read(pod(RUNNING, restarts=2)), NOW, restarts_known=5).restarts
    assert 2 == first_history(read(pod(RUNNING, restarts=2)), NOW, restarts_known=1).restarts


SINCE = READY | {"lastTransitionTime": "2026-01-01T00:00:40Z"}
SCHEDULED = {"type": "PodScheduled", "status": "True", "lastTransitionTime": THEN}


def test_the_start_of_a_replica_is_observed_once() -> None:
    history, _ = observe(None, pod(RUNNING, SCHEDULED))
    assert history.start is None
    history, notices = observe(history, pod(RUNNING, SCHEDULED, SINCE))
    assert notices[0].start is not None
    assert ("app-0 is ready after 40.0 s", 40.0) == (notices[0].message.split(" (")[0], notices[0].start.seconds)
    assert notices[0].start == history.start
    history, _ = observe(history, pod(RUNNING, SCHEDULED))
    later = READY | {"lastTransitionTime": "2026-01-01T09:00:00Z"}
    history, notices = observe(history, pod(RUNNING, SCHEDULED, later))
    assert [SERVES] == verbs(notices)
    assert (None, 40.0) == (notices[0].start, history.start.seconds if history.start else 0)


def test_a_replica_that_was_ready_before_us_has_no_observed_start() -> None:
    history = first_history(read(pod(RUNNING, SCHEDULED, SINCE)), NOW)
    history, _ = observe(history, pod(RUNNING, SCHEDULED))
    history, _ = observe(history, pod(RUNNING, SCHEDULED, SINCE))
    assert history.start is None


def test_an_engine_that_runs_again_has_a_start_of_its_own() -> None:
    history, _ = observe(None, pod(RUNNING, SCHEDULED))
    history, _ = observe(history, pod(RUNNING, SCHEDULED, SINCE))
    history, _ = observe(history, pod(ENDED))
    assert history.start is None
    history, _ = observe(history, pod(RUNNING, SCHEDULED, SINCE, last=ENDED, restarts=1))
    assert history.start is not None
    assert {"load": 40.0} == dict(history.start.items())
