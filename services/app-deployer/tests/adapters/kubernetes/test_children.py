"""Children on a real API server, against other owners of their names and other writers of their fields."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from arks.app_deployer.adapters.kubernetes.children import LEADER_WORKER_SET, SERVICE
from arks.app_deployer.domain.workload import Refusal
from arks.app_deployer.testing.api_server import lws_api_server
from arks.app_deployer.testing.kube_harness import KEY, KubeHarness, kube_harness
from arks.contracts.resources import InstanceState
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import Kind
from arks.kit.testing.kubernetes import ApiServer
from arks.kit.testing.wait import eventually
from arks.kit.types import Json

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
SERVICE_KEY = Key("default", "arks-application-app")
READY = InstanceState.READY
POD = {"containers": [{"name": "theirs", "image": "theirs"}]}
SETS_OF_OTHERS = {"replicas": 0, "leaderWorkerTemplate": {"size": 1, "workerTemplate": {"spec": POD}}}
"""Spec of a LeaderWorkerSet that a tenant made."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServer]:
    async with lws_api_server(tmp_path_factory.mktemp("kube")) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def harness(server: ApiServer) -> AsyncIterator[KubeHarness]:
    async with kube_harness(server) as harness:
        yield harness


@dataclass(frozen=True)
class Hands:
    """Other writers."""

    api: KubeApi
    kubectl: Callable[..., Awaitable[str]]


@pytest_asyncio.fixture(loop_scope="module")
async def hands(server: ApiServer) -> AsyncIterator[Hands]:
    people = KubeApi("people", CollectorRegistry(), server.kubeconfig)
    await people.start()
    yield Hands(people, server.kubectl)
    await people.stop()


async def read(api: KubeApi, kind: Kind, key: Key) -> Json:
    found = await api.get(kind, key)
    assert found is not None
    return found


# --- other owners


@pytest.mark.parametrize(
    ("kind", "key", "spec"),
    [
        (LEADER_WORKER_SET, KEY, SETS_OF_OTHERS),
        (SERVICE, SERVICE_KEY, {"selector": {"app": "theirs"}, "ports": [{"port": 1}]}),
    ],
)
async def test_an_object_of_the_tenant_stays_as_it_is_and_the_application_names_it(
    harness: KubeHarness, hands: Hands, kind: Kind, key: Key, spec: Json
) -> None:
    labels = {"arks.ai/application": "app"}  # or it would be found later only
    metadata = {"name": key.name, "namespace": key.namespace, "labels": labels}
    made = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}
    theirs = await hands.api.create(kind, made)
    observed = await harness.workloads.apply(harness.desired())
    message = (
        f"{kind.kind} {key.name} exists and has no owner, so it is not changed: delete or rename it, or give "
        "ArksApplication app another name"
    )
    assert Refusal("NameConflict", message) == observed.refusal
    assert 30.0 == observed.requeue_seconds
    assert not (await harness.workloads.remove(KEY, 0.0)).terminating or kind is LEADER_WORKER_SET
    assert theirs["metadata"]["uid"] == (await read(hands.api, kind, key))["metadata"]["uid"]
    assert (theirs["spec"], labels) == (
        (await read(hands.api, kind, key))["spec"],
        (await read(hands.api, kind, key))["metadata"]["labels"],
    )
    await hands.api.delete(kind, key)
    assert (await harness.reach(harness.desired(), READY)).refusal is None


async def test_without_a_model_the_set_of_another_is_not_scaled_down(harness: KubeHarness, hands: Hands) -> None:
    owner = {"apiVersion": "arks.ai/v1", "kind": "ArksDisaggregatedApplication", "name": "a", "uid": "2"}
    metadata = {
        "name": "app",
        "namespace": "default",
        "labels": {"arks.ai/application": "a"},
        "ownerReferences": [owner | {"controller": True}],
    }
    kind = LEADER_WORKER_SET
    made = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
    await hands.api.create(kind, made | {"spec": SETS_OF_OTHERS | {"replicas": 2}})
    sets = harness.parts.workloads._sets  # type: ignore[attr-defined]
    await eventually(lambda: sets.cache.get(KEY), what="the set seen")
    without_model = harness.desired(0)
    await harness.workloads.apply(type(without_model)(without_model.application, None))
    assert 2 == (await read(hands.api, kind, KEY))["spec"]["replicas"]
    await hands.api.delete(kind, KEY)
    await eventually(lambda: sets.cache.get(KEY) is None, what="the set gone")


async def test_the_set_of_an_earlier_application_of_the_name_serves_on(harness: KubeHarness) -> None:
    await harness.reach(harness.desired(), READY)
    before = await harness.leader_worker_set()
    again = harness.desired(uid="2")
    await harness.reach(again, READY)

    async def taken_over() -> Json | None:
        await harness.workloads.apply(again)
        found = await harness.leader_worker_set()
        return found if ["2"] == [owner["uid"] for owner in found["metadata"]["ownerReferences"]] else None

    after = await eventually(taken_over, what="the new owner")
    assert after is not None
    assert (before["metadata"]["uid"], before["spec"]) == (after["metadata"]["uid"], after["spec"])


# --- other writers


async def scaled(hands: Hands) -> str:
    await hands.kubectl("scale", "leaderworkerset", "app", "--replicas=0")
    return "LeaderWorkerSet app: spec.replicas changed by"


async def edited(hands: Hands) -> str:
    template = (await read(hands.api, LEADER_WORKER_SET, KEY))["spec"]["leaderWorkerTemplate"]["leaderTemplate"]
    template["spec"]["containers"][0]["command"] = ["other"]
    await hands.api.merge(LEADER_WORKER_SET, KEY, {"spec": {"leaderWorkerTemplate": {"leaderTemplate": template}}})
    path = "spec.leaderWorkerTemplate.leaderTemplate.spec.containers"
    return f"LeaderWorkerSet app: {path}"


async def selector(hands: Hands) -> str:
    await hands.api.merge(SERVICE, SERVICE_KEY, {"spec": {"selector": {"more": "1"}}})
    return "Service arks-application-app: spec.selector changed by people, set back"


async def unlabelled(hands: Hands) -> str:
    await hands.kubectl("label", "service", SERVICE_KEY.name, "arks.ai/application-")
    return "Service arks-application-app: metadata.labels.arks.ai/application changed by"


async def deleted(hands: Hands) -> str:
    await hands.api.delete(SERVICE, SERVICE_KEY)
    return "Service arks-application-app: deleted, created again"


CHANGES = [(scaled, LEADER_WORKER_SET), (edited, LEADER_WORKER_SET), (selector, SERVICE)]
CHANGES += [(unlabelled, SERVICE), (deleted, SERVICE)]


@pytest.mark.parametrize(("change", "kind"), CHANGES)
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_change_by_hand_is_set_back(
    harness: KubeHarness, hands: Hands, change: Any, kind: Kind, restarted: bool
) -> None:
    await harness.reach(harness.desired(), READY)
    key = KEY if kind is LEADER_WORKER_SET else SERVICE_KEY
    before = content(await read(harness.api, kind, key))
    if restarted:
        await harness.stop()
    reported = len(harness.changes)
    message = await change(hands)
    if restarted:
        await harness.restart()
    else:
        await eventually(lambda: len(harness.changes) > reported, what="the change noticed")

    async def back() -> bool:
        await harness.workloads.apply(harness.desired())
        found = await harness.api.get(kind, key)
        return found is not None and before == content(found)

    await eventually(back, what=f"{kind.kind} set back")
    if change is deleted and restarted:
        assert [] == harness.repairs  # a restarted app-deployer cannot know that it existed
    else:
        assert [("ArksApplication/app", message)] == [(owner, what[: len(message)]) for owner, what in harness.repairs]


def content(obj: Json) -> tuple[Json, Json]:
    spec = {name: value for name, value in obj["spec"].items() if not name.startswith("clusterIP")}
    return obj["metadata"]["labels"], spec


async def test_a_writer_that_goes_on_is_answered_later_and_later(harness: KubeHarness, hands: Hands) -> None:
    desired = harness.desired()
    await harness.reach(desired, READY)
    await hands.api.merge(SERVICE, SERVICE_KEY, {"spec": {"selector": {"more": "1"}}})
    await eventually(lambda: _repaired(harness, 1), what="the first repair, at once")
    await hands.api.merge(SERVICE, SERVICE_KEY, {"spec": {"selector": {"more": "2"}}})

    async def waits() -> float | None:
        return (await harness.workloads.apply(desired)).requeue_seconds

    wait_seconds = await eventually(waits, what="the second one waits")
    assert wait_seconds is not None and 0 < wait_seconds <= 2
    assert 1 == len(harness.repairs)
    assert "2" == (await read(hands.api, SERVICE, SERVICE_KEY))["spec"]["selector"]["more"]
    await asyncio.wait_for(eventually(lambda: _repaired(harness, 2), what="the second repair"), 30)


async def _repaired(harness: KubeHarness, count: int) -> bool:
    await harness.workloads.apply(harness.desired())
    return len(harness.repairs) == count


async def test_fields_of_others_stay_and_a_restart_writes_nothing(harness: KubeHarness, hands: Hands) -> None:
    desired = harness.desired()
    await harness.reach(desired, READY)
    await harness.workloads.apply(desired)
    await hands.kubectl("annotate", "leaderworkerset", "app", "note=theirs")
    await hands.api.merge(SERVICE, SERVICE_KEY, {"spec": {"sessionAffinity": "ClientIP"}})
    before = await read(hands.api, LEADER_WORKER_SET, KEY), await read(hands.api, SERVICE, SERVICE_KEY)
    await harness.restart()
    await harness.workloads.apply(desired)
    assert before == (await read(hands.api, LEADER_WORKER_SET, KEY), await read(hands.api, SERVICE, SERVICE_KEY))
    assert [] == harness.repairs
