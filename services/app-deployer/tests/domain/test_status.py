from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from arks.app_deployer.domain.facts import Happened, fact_of, happened
from arks.app_deployer.domain.status import ModelView, status_of
from arks.app_deployer.domain.workload import Observed, Refusal, Replica, ReplicaState
from arks.contracts.resources import ApplicationPhase, ArksApplication, ArksApplicationStatus
from arks.events.v1 import facts_pb2
from arks.events.v1.facts_pb2 import ModelFact

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
LOADED = ModelView(ModelFact(ready=True, path="/m"))
DOWNLOADING = ModelView(ModelFact(reason="ModelLoading", message="10 % of 2 GB"))
BROKEN = ModelView(ModelFact(reason="ModelLoadFailed", message="404 from the hub"))
NOT_YET, MISSING = ModelView(None, 1.0), ModelView(None, 5.0)
NO_GPU = Refusal("RuntimeNotSupport", "this machine cannot run runtime vllm: it has no GPU")
NO_MEMORY = Refusal("NotEnoughMemory", "a replica takes 9842 MiB")

READY = Replica("app-0", ReplicaState.READY, "127.0.0.1", 9000, slots=4)
STARTING = Replica("app-0", ReplicaState.STARTING)
CRASHED = Replica("app-0", ReplicaState.BACK_OFF, failures=1, message="it ended with status 1")
LOOPING = Replica("app-0", ReplicaState.FAILED, failures=3, message="it ended with status 1")
NO_IMAGE = Replica("app-0", ReplicaState.FAILED, reason="ImagePullBackOff", message="Back-off pulling image x")
AGAIN = Replica("app-0", ReplicaState.STARTING, failures=3, message="it ended with status 1")
DRAINING = Replica("app-1", ReplicaState.DRAINING)
OLD = Replica("app-1", ReplicaState.READY, updated=False)


def app(replicas: int = 1, status: ArksApplicationStatus | None = None, **metadata: Any) -> ArksApplication:
    spec = {"replicas": replicas, "runtime": "llamacpp", "model": {"name": "m"}, "instanceSpec": {}}
    made = ArksApplication.from_dict(
        {
            "apiVersion": "arks.ai/v1",
            "kind": "ArksApplication",
            "metadata": {"name": "app", "generation": 3} | metadata,
            "spec": spec,
        }
    )
    return made.model_copy(update={"status": status})


def shown(status: ArksApplicationStatus) -> str:
    """Phase and the three conditions, as `Running +PrecheckPass +ModelLoadSucceeded +Running`."""
    signs = [("+" if one.status == "True" else "-") + one.reason for one in status.conditions]
    return " ".join([status.phase.value, *signs])


CHECKED = "+PrecheckPass +ModelLoadSucceeded"


@pytest.mark.parametrize(
    ("why", "given", "expected"),
    [
        ("all is well", {"seen": [READY]}, f"Running {CHECKED} +Running"),
        ("one of two serves", {"wanted": 2, "seen": [READY]}, f"Running {CHECKED} +Running"),
        ("nothing yet", {}, f"Creating {CHECKED} -Starting"),
        ("its image does not exist", {"seen": [NO_IMAGE]}, f"Failed {CHECKED} -ImagePullBackOff"),
        ("one serves, one lacks its image", {"wanted": 2, "seen": [OLD, NO_IMAGE]}, f"Running {CHECKED} +Running"),
        ("it starts", {"seen": [STARTING]}, f"Creating {CHECKED} -Starting"),
        ("it ended once", {"seen": [CRASHED]}, f"Creating {CHECKED} -EngineEnded"),
        ("crash loop", {"seen": [LOOPING]}, f"Failed {CHECKED} -EngineCrashLoop"),
        ("between two crashes", {"seen": [AGAIN]}, f"Failed {CHECKED} -EngineCrashLoop"),
        ("no memory", {"refusal": NO_MEMORY}, f"Failed {CHECKED} -NotEnoughMemory"),
        ("memory for one", {"wanted": 2, "seen": [READY], "refusal": NO_MEMORY}, f"Running {CHECKED} +Running"),
        ("no GPU", {"problem": NO_GPU}, "Failed -RuntimeNotSupport +ModelLoadSucceeded -RuntimeNotSupport"),
        (
            "a GPU runtime after another one",
            {"problem": NO_GPU, "seen": [READY]},
            "Failed -RuntimeNotSupport +ModelLoadSucceeded +Running",
        ),
        ("before its model", {"model": NOT_YET}, "Loading +PrecheckPass -ModelNotExist -WaitingForModel"),
        ("without its model", {"model": MISSING}, "Failed +PrecheckPass -ModelNotExist -WaitingForModel"),
        ("model downloads", {"model": DOWNLOADING}, "Loading +PrecheckPass -ModelLoading -WaitingForModel"),
        ("model failed", {"model": BROKEN}, "Failed +PrecheckPass -ModelLoadFailed -WaitingForModel"),
        ("model deleted", {"model": MISSING, "seen": [READY]}, "Running +PrecheckPass -ModelNotExist +Running"),
        ("scaled to zero", {"wanted": 0}, f"Pending {CHECKED} -ScaledToZero"),
        ("draining to zero", {"wanted": 0, "seen": [DRAINING]}, f"Pending {CHECKED} -ScaledToZero"),
    ],
)
def test_phase_and_conditions(why: str, given: dict[str, Any], expected: str) -> None:
    case = {"wanted": 1, "problem": None, "model": LOADED, "seen": [], "refusal": None} | given
    observed = Observed(tuple(case["seen"]), case["refusal"])
    assert expected == shown(status_of(app(case["wanted"]), case["problem"], case["model"], observed, NOW)), why


def status(*replicas: Replica, wanted: int = 1, refusal: Refusal | None = None, **more: Any) -> ArksApplicationStatus:
    return status_of(app(wanted, **more), None, LOADED, Observed(replicas, refusal), NOW)


def message(status: ArksApplicationStatus, type_: str = "Ready") -> str:
    return next(one.message for one in status.conditions if one.type == type_)


def test_counts_are_of_all_replicas_but_those_that_leave() -> None:
    found = status(READY, OLD, DRAINING, wanted=2)
    assert (2, 2, 1, 3) == (found.replicas, found.ready_replicas, found.updated_replicas, found.observed_generation)
    assert ["app-0", "app-1", "app-1"] == [one.name for one in found.instances]
    assert ("127.0.0.1:9000", "Ready") == (found.instances[0].address, found.instances[0].state)
    assert ("", "Draining") == (found.instances[2].address, found.instances[2].state)
    assert "arks.ai/application=app" == found.selector


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (status(READY), "The LLM service is running: 1 of 1 replicas serve"),
        (
            status(READY, wanted=2, refusal=NO_MEMORY),
            "The LLM service is running: 1 of 2 replicas serve; a replica takes 9842 MiB",
        ),
        (status(STARTING), "0 of 1 replicas serve: app-0 is starting"),
        (status(CRASHED), "app-0 ended: it ended with status 1"),
        (status(LOOPING), "app-0 ended (3 times in a row): it ended with status 1"),
    ],
)
def test_messages_say_what_is_and_why(found: ArksApplicationStatus, expected: str) -> None:
    assert expected == message(found)


def test_a_model_that_is_gone_is_told_while_its_replicas_serve() -> None:
    found = status_of(app(), None, MISSING, Observed((READY,)), NOW)
    assert "there is no ArksModel m in this namespace; replicas that have it loaded go on serving" == message(
        found, "Loaded"
    )


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    before = status(STARTING)
    same = status_of(app(status=before), None, LOADED, Observed((AGAIN,)), LATER)
    assert [NOW] * 3 == [one.last_transition_time for one in same.conditions]
    ready = status_of(app(status=same), None, LOADED, Observed((READY,)), LATER)
    assert [NOW, NOW, LATER] == [one.last_transition_time for one in ready.conditions]


def test_failed_recovers() -> None:
    before = status(LOOPING)
    after = status_of(app(status=before), None, LOADED, Observed((READY,)), LATER)
    assert [ApplicationPhase.FAILED, ApplicationPhase.RUNNING] == [before.phase, after.phase]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (status(STARTING), status(READY), "running"),
        (None, status(READY), "running"),
        (status(STARTING), status(LOOPING), "failed"),
        (status(READY), status(STARTING), None),
        (status(READY), status(READY, OLD), None),
        (status(LOOPING), status(AGAIN), None),
        (status(LOOPING), status(NO_IMAGE), "failed"),
    ],
)
def test_people_are_told_when_it_begins_to_run_or_fails_or_fails_for_another_reason(
    before: ArksApplicationStatus | None, after: ArksApplicationStatus, expected: str | None
) -> None:
    what = happened(before, after)
    assert expected == (what.verb if what else None)


def test_a_failure_is_told_with_the_condition_that_explains_it() -> None:
    after = status_of(app(), NO_GPU, LOADED, Observed(), NOW)
    assert Happened("failed", NO_GPU.reason, NO_GPU.message) == happened(None, after)


def test_neighbours_are_told_what_serves_under_which_name() -> None:
    fact = fact_of(app(2), Observed((READY, STARTING, LOOPING, DRAINING)))
    assert ("default", "app", 3, "m", "llamacpp", 2) == (
        fact.namespace,
        fact.application,
        fact.generation,
        fact.served_model,
        fact.runtime,
        fact.desired,
    )
    assert [
        facts_pb2.REPLICA_STATE_READY,
        facts_pb2.REPLICA_STATE_STARTING,
        facts_pb2.REPLICA_STATE_FAILED,
        facts_pb2.REPLICA_STATE_DRAINING,
    ] == [one.state for one in fact.replicas]
    first = fact.replicas[0]
    assert ("app-0", "127.0.0.1", 9000, 4, 0) == (first.name, first.host, first.port, first.slots, first.restarts)


def test_a_deleted_application_desires_nothing() -> None:
    assert 0 == fact_of(app(2, deletionTimestamp="2026-01-01T00:00:00Z"), Observed((READY,))).desired
