from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from arks.app_deployer.domain.facts import ApplicationEvent, event_of, fact_of
from arks.app_deployer.domain.status import ModelView, precheck, status_of
from arks.app_deployer.domain.workload import ObservedReplica, ObservedWorkload, Refusal
from arks.contracts.conditions import find_condition
from arks.contracts.resources import ApplicationPhase, ArksApplication, ArksApplicationStatus, InstanceState
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

READY = ObservedReplica("app-0", InstanceState.READY, "127.0.0.1", 9000, slots=4)
STARTING = ObservedReplica("app-0", InstanceState.STARTING)
CRASHED = ObservedReplica("app-0", InstanceState.BACK_OFF, failures=1, message="it ended with status 1")
LOOPING = ObservedReplica("app-0", InstanceState.FAILED, failures=3, message="it ended with status 1")
NO_IMAGE = ObservedReplica("app-0", InstanceState.FAILED, reason="ImagePullBackOff", message="Back-off pulling image x")
AGAIN = ObservedReplica("app-0", InstanceState.STARTING, failures=3, message="it ended with status 1")
DRAINING = ObservedReplica("app-1", InstanceState.DRAINING)
OLD = ObservedReplica("app-1", InstanceState.READY, updated=False)


def test_the_precheck_has_the_note_of_the_launch_unless_it_fails() -> None:
    noted = "The application passed the pre-checking; never run on a GPU"
    assert noted == precheck(None, "never run on a GPU").message
    assert "The application passed the pre-checking" == precheck(None).message
    assert NO_GPU.message == precheck(NO_GPU, "never run on a GPU").message
    usual = status_of(app(), None, LOADED, ObservedWorkload((READY,), note="never run on a GPU"), NOW)
    condition = find_condition(usual.conditions, "Precheck")
    assert condition is not None and noted == condition.message


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
    signs = [("+" if item.status == "True" else "-") + item.reason for item in status.conditions[:3]]
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
        (
            "memory for one",
            {"wanted": 2, "seen": [STARTING], "refusal": NO_MEMORY},
            f"Creating {CHECKED} -NotEnoughMemory",
        ),
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
    observed = ObservedWorkload(tuple(case["seen"]), case["refusal"])
    assert expected == shown(status_of(app(case["wanted"]), case["problem"], case["model"], observed, NOW)), why


def status(
    *replicas: ObservedReplica, desired: int = 1, refusal: Refusal | None = None, **more: Any
) -> ArksApplicationStatus:
    return status_of(app(desired, **more), None, LOADED, ObservedWorkload(replicas, refusal), NOW)


def message(status: ArksApplicationStatus, type_: str = "Ready") -> str:
    return next(item.message for item in status.conditions if item.type == type_)


def test_counts_include_all_replicas_except_draining_ones() -> None:
    found = status(READY, OLD, DRAINING, desired=2)
    assert (2, 2, 1, 3) == (found.replicas, found.ready_replicas, found.updated_replicas, found.observed_generation)
    assert ["app-0", "app-1", "app-1"] == [item.name for item in found.instances]
    assert ("127.0.0.1:9000", "Ready") == (found.instances[0].address, found.instances[0].state)
    assert ("", "Draining") == (found.instances[2].address, found.instances[2].state)


def test_autoscalers_count_one_pod_a_replica() -> None:
    """Of workers too, 2 replicas of 4 nodes at a ratio of 1.2 would become 10."""
    labels = {"arks.ai/application": "app", "arks.ai/model": "m"}
    pods = [labels | {"arks.ai/work-load-role": role} for role in ("leader", "worker", "worker", "worker")] * 2
    selector = status(READY).selector
    assert selector is not None
    wanted = dict(term.split("=") for term in selector.split(","))
    assert 2 == sum(wanted.items() <= pod.items() for pod in pods)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (status(READY), "The LLM service is running: 1 of 1 replicas serve"),
        (
            status(READY, desired=2, refusal=NO_MEMORY),
            "The LLM service is running: 1 of 2 replicas serve; a replica takes 9842 MiB",
        ),
        (status(STARTING), "0 of 1 replicas serve: app-0 is starting"),
        (status(CRASHED), "app-0 ended: it ended with status 1"),
        (status(LOOPING), "app-0 ended (3 times in a row): it ended with status 1"),
    ],
)
def test_messages_state_the_problem_and_its_reason(found: ArksApplicationStatus, expected: str) -> None:
    assert expected == message(found)


def test_a_deleted_model_is_reported_while_its_replicas_serve() -> None:
    found = status_of(app(), None, MISSING, ObservedWorkload((READY,)), NOW)
    assert "there is no ArksModel m in this namespace; replicas that have it loaded go on serving" == message(
        found, "Loaded"
    )
    assert (
        "The LLM service is running: 1 of 1 replicas serve; there is no ArksModel m in this namespace, "
        "without which no replica starts again"
    ) == message(found)


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    before = status(STARTING)
    same = status_of(app(status=before), None, LOADED, ObservedWorkload((AGAIN,)), LATER)
    assert [NOW] * 3 == [item.last_transition_time for item in same.conditions[:3]]
    ready = status_of(app(status=same), None, LOADED, ObservedWorkload((READY,)), LATER)
    assert [NOW, NOW, LATER] == [item.last_transition_time for item in ready.conditions[:3]]


def test_failed_recovers() -> None:
    before = status(LOOPING)
    after = status_of(app(status=before), None, LOADED, ObservedWorkload((READY,)), LATER)
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
def test_events_are_published_for_running_failed_and_another_reason_to_fail(
    before: ArksApplicationStatus | None, after: ArksApplicationStatus, expected: str | None
) -> None:
    what = event_of(before, after)
    assert expected == (what.verb if what else None)


def test_a_failure_is_reported_with_the_condition_that_explains_it() -> None:
    after = status_of(app(), NO_GPU, LOADED, ObservedWorkload(), NOW)
    assert ApplicationEvent("failed", NO_GPU.reason, NO_GPU.message) == event_of(None, after)


def test_the_fact_names_the_runtime_whose_metrics_the_engine_has() -> None:
    assert ["llamacpp", "vllm"] == [fact_of(app(), ObservedWorkload(), name).runtime for name in ("", "vllm")]


def test_the_fact_lists_replicas_and_the_served_name() -> None:
    fact = fact_of(app(2), ObservedWorkload((READY, STARTING, LOOPING, DRAINING)))
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
    ] == [item.state for item in fact.replicas]
    first = fact.replicas[0]
    assert ("app-0", "127.0.0.1", 9000, 4, 0) == (first.name, first.host, first.port, first.slots, first.restarts)


def test_a_deleted_application_desires_nothing() -> None:
    assert 0 == fact_of(app(2, deletionTimestamp="2026-01-01T00:00:00Z"), ObservedWorkload((READY,))).desired


def test_replicas_with_the_files_of_a_former_spec_of_the_model_are_not_ready() -> None:
    def view(generation: int, *, ready: bool) -> ModelView:
        return ModelView(ModelFact(name="m", ready=ready, path="/m", generation=generation, reason="ModelLoading"))

    def next_status(before: ArksApplicationStatus | None, model: ModelView, *, updated: bool) -> ArksApplicationStatus:
        replica = ObservedReplica("app-0", InstanceState.READY, "127.0.0.1", 9000, updated=updated)
        return status_of(app(status=before), None, model, ObservedWorkload((replica,)), NOW)

    running = next_status(None, view(1, ready=True), updated=True)
    loading = next_status(running, view(2, ready=False), updated=True)
    replaced = next_status(loading, view(2, ready=True), updated=False)
    served = next_status(replaced, view(2, ready=True), updated=True)
    assert [1, 1, 1, 2] == [status.model_generation for status in (running, loading, replaced, served)]
    assert f"Running {CHECKED} +Running" == shown(running)
    assert "Loading +PrecheckPass -ModelLoading -ModelOutdated" == shown(loading)
    assert f"Creating {CHECKED} -ModelOutdated" == shown(replaced)
    assert f"Running {CHECKED} +Running" == shown(served)
