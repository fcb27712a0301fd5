"""Workloads on a real API server, with LeaderWorkerSet's controller and kubelet played."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from arks.app_deployer.adapters.kubernetes.children import LEADER_WORKER_SET
from arks.app_deployer.domain.start_phases import PHASES, StartPhases
from arks.app_deployer.domain.status import ModelView, status_of
from arks.app_deployer.domain.workload import Change, ObservedReplica, ObservedWorkload, Refusal, Workload
from arks.app_deployer.testing.api_server import lws_api_server
from arks.app_deployer.testing.kube_harness import KEY, PLATFORM, KubeHarness, kube_harness
from arks.app_deployer.testing.workloads_contract import WorkloadsContract
from arks.contracts.resources import InstanceState
from arks.kit.key import Key
from arks.kit.testing.kubernetes import ApiServer
from arks.kit.testing.wait import eventually
from arks.kit.testing.web import serving

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
READY = InstanceState.READY


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServer]:
    async with lws_api_server(tmp_path_factory.mktemp("kube")) as server:
        yield server


NO_ROOM = {
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/1 nodes are available",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ]
}
_CREATING_STATE = {"waiting": {"reason": "ContainerCreating"}}
CREATING = {
    "containerStatuses": [
        {"name": "leader", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": _CREATING_STATE}
    ]
}
_NO_IMAGE_STATE = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
NO_IMAGE = {
    "containerStatuses": [
        {"name": "leader", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": _NO_IMAGE_STATE}
    ]
}


def at(second: int) -> str:
    return f"2026-01-01T00:00:{second:02}Z"


ENGINE_ADDRESS = "127.77.16.1"
"""Of loopback, where an engine may have the port that its pod has."""
STARTED = {
    "phase": "Running",
    "podIP": ENGINE_ADDRESS,
    "conditions": [
        {"type": name, "status": "True", "lastTransitionTime": at(second)}
        for name, second in (("PodScheduled", 0), ("PodReadyToStartContainers", 2), ("Ready", 59))
    ],
    "initContainerStatuses": [
        {
            "name": "read-ahead",
            "image": "x",
            "imageID": "",
            "ready": True,
            "restartCount": 0,
            "state": {"terminated": {"exitCode": 0, "startedAt": at(5), "finishedAt": at(25)}},
        }
    ],
    "containerStatuses": [
        {
            "name": "leader",
            "image": "x",
            "imageID": "",
            "ready": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": at(26)}},
        }
    ],
}
"""Of a pod that has read ahead and is ready."""


@pytest_asyncio.fixture(loop_scope="module")
async def harness(server: ApiServer) -> AsyncIterator[KubeHarness]:
    async with kube_harness(server) as harness:
        yield harness


class TestKubeWorkloads(WorkloadsContract):
    pass


async def test_a_replica_serves_while_a_single_replica_is_replaced(harness: KubeHarness) -> None:
    await harness.reach(harness.desired(), READY)
    unserved: list[ObservedWorkload] = []

    def note_restarts(_: Change) -> None:
        if not (observed := harness.workloads.observe(KEY)).of(READY):
            unserved.append(observed)

    harness.workloads.subscribe(note_restarts)
    desired = harness.desired(runtimeCommonArgs=["--parallel", "2"])

    async def replaced() -> bool:
        observed = await harness.workloads.apply(desired)
        return [("app-0", READY, True)] == [(item.name, item.state, item.updated) for item in observed.replicas]

    await eventually(replaced, within_seconds=90, what="app-0 replaced and alone")
    assert [] == unserved
    assert 1 == (await harness.leader_worker_set())["spec"]["replicas"]


async def test_without_room_for_a_second_replica_the_old_one_stops_first(harness: KubeHarness) -> None:
    await harness.reach(harness.desired(), READY)
    harness.cluster.fate = lambda pod: NO_ROOM if pod["metadata"]["name"] == "app-1" else None
    after = await harness.reach(harness.desired(runtimeCommonArgs=["--parallel", "2"]), READY)
    assert ["app-0"] == [item.name for item in after.replicas]
    found = await harness.leader_worker_set()
    marks = found["metadata"]["annotations"]
    assert (1, marks["arks.ai/revision"]) == (found["spec"]["replicas"], marks["arks.ai/rolled-out-in-place"])


async def test_a_quota_without_room_for_a_second_replica_is_the_reason_and_the_old_one_stops_first(
    harness: KubeHarness,
) -> None:
    await harness.reach(harness.desired(), READY)
    harness.cluster.refusal = "exceeded quota: gpus"
    desired = harness.desired(runtimeCommonArgs=["--parallel", "2"])

    async def refusal() -> Refusal | None:
        return (await harness.workloads.apply(desired)).refusal

    async def stops_first() -> bool:
        return (await harness.workloads.apply(desired)).without_surge

    reason = await eventually(refusal, within_seconds=30, what="the reason")
    assert Refusal("FailedCreate", "exceeded quota: gpus") == reason
    await eventually(stops_first, within_seconds=30, what="a rollout in place")
    harness.cluster.refusal = ""
    assert (await harness.reach(desired, READY)).refusal is None


async def test_a_volume_that_another_node_holds_is_the_reason_and_the_old_one_stops_first(
    harness: KubeHarness,
) -> None:
    await harness.reach(harness.desired(), READY)
    harness.cluster.fate = lambda pod: CREATING if pod["metadata"]["name"] == "app-1" else None
    desired = harness.desired(runtimeCommonArgs=["--parallel", "2"])
    await harness.reach(desired, READY, InstanceState.STARTING, settled=False)
    pod = harness.cluster.pod("app-1")
    assert pod is not None
    await harness.cluster.warn("Pod", "app-1", "FailedAttachVolume", "Multi-Attach error", pod["metadata"]["uid"])
    observed = await harness.reach(desired, READY, InstanceState.FAILED, settled=False)
    assert ("FailedAttachVolume", "Multi-Attach error") == (observed.replicas[1].reason, observed.replicas[1].message)
    await harness.reach(desired, READY)


async def test_an_image_that_does_not_exist_is_the_replica_s_reason_and_the_old_one_serves_on(
    harness: KubeHarness,
) -> None:
    await harness.reach(harness.desired(), READY)
    harness.cluster.fate = lambda _: NO_IMAGE
    desired = harness.desired(runtimeImage="nowhere/engine:1")
    observed = await harness.reach(desired, READY, InstanceState.FAILED, settled=False)
    assert ("ImagePullBackOff", "not found") == (observed.replicas[1].reason, observed.replicas[1].message)
    harness.cluster.fate = lambda _: None
    await harness.reach(harness.desired(), READY)


async def test_what_is_as_wanted_costs_no_request(harness: KubeHarness) -> None:
    desired = harness.desired()
    await harness.reach(desired, READY)
    before = (await harness.leader_worker_set())["metadata"]["managedFields"]
    await harness.workloads.apply(desired)
    requests = _requests(harness)
    for _ in range(5):
        await harness.workloads.apply(desired)
    assert requests == _requests(harness)
    assert before == (await harness.leader_worker_set())["metadata"]["managedFields"]


def _requests(harness: KubeHarness) -> float:
    """Writes to children so far."""
    metrics = harness.registry.collect()
    samples = [item for metric in metrics if metric.name == "arks_kube_requests" for item in metric.samples]
    kinds = {"leaderworkersets", "services"}
    return sum(
        item.value for item in samples if item.labels.get("resource") in kinds and item.labels["verb"] == "patch"
    )


async def test_a_restarted_app_deployer_repeats_no_events(harness: KubeHarness) -> None:
    desired = harness.desired()
    before = await harness.reach(desired, READY)
    await harness.restart()
    harness.changes.clear()
    unmeasured = tuple(replace(item, start=None) for item in before.replicas)  # no status has them
    assert replace(before, replicas=unmeasured) == await harness.workloads.apply(desired)
    assert [] == [change.verb for change in harness.changes if change.verb]


async def test_a_rejected_object_is_reported_until_its_cause_is_gone(harness: KubeHarness) -> None:
    bad = harness.desired(instanceSpec={"priority": 1, "tolerations": [{"key": ["not", "text"]}]})
    observed = await harness.workloads.apply(bad)
    assert observed.refusal is not None
    assert "UnderlayReconcileFailed" == observed.refusal.reason
    assert "tolerations" in observed.refusal.message
    assert (await harness.reach(harness.desired(), READY)).refusal is None


async def test_a_terminating_replica_drains_until_its_pod_is_gone(harness: KubeHarness) -> None:
    await harness.reach(harness.desired(2), READY, READY)
    harness.cluster.drained.clear()
    observed = await harness.reach(harness.desired(1), READY, InstanceState.DRAINING)
    assert ["app-0", "app-1"] == [item.name for item in observed.replicas]
    assert observed.replicas[1].host
    harness.cluster.drained.set()
    await harness.reach(harness.desired(1), READY)


async def test_a_group_of_two_serves_with_its_leader_alone(harness: KubeHarness) -> None:
    image = "vllm/vllm-openai:v0.19.0"
    desired = harness.desired(runtime="vllm", runtimeImage=image, runtimeCommonArgs=[], size=2)
    observed = await harness.reach(desired, READY)
    assert "never run this launch on a GPU" in observed.note
    assert ["app-0"] == [item.name for item in observed.replicas]
    await eventually(lambda: harness.cluster.pods() == ["app-0", "app-0-1"], what="leader and worker")
    roles = [harness.cluster.pod(name) for name in harness.cluster.pods()]
    assert ["leader", "worker"] == [pod["metadata"]["labels"]["arks.ai/work-load-role"] for pod in roles if pod]
    assert all(pod and PLATFORM.annotations.items() <= pod["metadata"]["annotations"].items() for pod in roles)


async def test_an_application_s_name_may_begin_with_a_digit(harness: KubeHarness) -> None:
    """LeaderWorkerSet refuses such a name, because it becomes a Service's and a host's."""
    key = Key("default", "7b")
    desired = harness.desired(name="7b")

    async def serves() -> bool:
        return [READY] == [replica.state for replica in (await harness.workloads.apply(desired)).replicas]

    async def removed() -> bool:
        remaining = await harness.workloads.remove(key, 0.0)
        return not (remaining.replicas or remaining.terminating)

    await eventually(serves, within_seconds=30, what="a replica that serves")
    assert ["arks-7b-0"] == [replica.name for replica in harness.workloads.observe(key).replicas]
    assert await harness.api.get(LEADER_WORKER_SET, Key("default", "arks-7b")) is not None
    assert {key} == harness.workloads.keys()
    await eventually(removed, within_seconds=30, what="nothing left")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"runtime": "ark"}, None),
        (
            {"runtime": "vllm", "size": 2, "runtimeCommonArgs": [], "podGroupPolicy": {"kubeScheduling": {}}},
            "podGroupPolicy.kubeScheduling has no effect, because LeaderWorkerSet makes pod groups for Volcano only: "
            "use volcanoScheduling, or leave podGroupPolicy out",
        ),
        ({"size": 2}, "runtime llamacpp runs on one node: leave size out, or set it to 1"),
        ({}, None),
    ],
)
async def test_what_kubernetes_can_run(harness: KubeHarness, fields: dict[str, Any], why: str | None) -> None:
    problem = harness.workloads.problem(harness.desired(**fields).application)
    assert why == (problem.message if problem else None)


async def test_the_start_of_a_replica_is_shown_by_phase_up_to_its_first_token(harness: KubeHarness) -> None:
    requested: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        requested.append((await request.json())["model"])
        return web.json_response({})

    application = web.Application()
    application.add_routes([web.post("/v1/completions", answer)])
    harness.cluster.fate = lambda _: STARTED
    desired = harness.desired(loading="auto")
    async with serving(application, ENGINE_ADDRESS, 8080):
        await harness.reach(desired, READY)
        start = await eventually(lambda: _warmed_up(harness), within_seconds=30, what="its first token")
        assert start is not None
    assert {"prepare": 2.0, "image": 4.0, "read-ahead": 20.0, "load": 33.0, "warm-up": start.warm_up_seconds} == dict(
        start.items()
    )
    assert ["model"] == requested
    counts = {
        phase: harness.metrics.get_sample_value("arks_engine_start_phase_seconds_count", {"phase": phase})
        for phase in PHASES
    }
    assert dict.fromkeys(PHASES, 1.0) == counts
    await harness.restart()
    stored = status_of(desired.application, None, ModelView(harness.model()), _observed(start), datetime.now(UTC))
    again = Workload(desired.application.model_copy(update={"status": stored}), harness.model())
    recalled = (await harness.reach(again, READY)).replicas[0].start
    assert recalled is not None
    assert dict(start.items()) | {"warm-up": recalled.warm_up_seconds} == dict(recalled.items())
    assert ["model"] == requested


def _warmed_up(harness: KubeHarness) -> StartPhases | None:
    found = harness.workloads.observe(KEY).replicas
    start = found[0].start if found else None
    return start if start is not None and start.warm_up_seconds is not None else None


def _observed(start: StartPhases) -> ObservedWorkload:
    return ObservedWorkload((ObservedReplica("app-0", READY, start=start),))
