"""HorizontalPodAutoscalers are written, kept, and never taken from others."""

from typing import TYPE_CHECKING, Any, cast

import pytest

from arks.contracts.resources import ArksAutoscaler
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.types import Json
from arks.metrics.adapters.kubernetes.pod_autoscalers import POD_AUTOSCALER, PodAutoscalers, Written, read

if TYPE_CHECKING:
    from services.metrics.tests.adapters.kubernetes.conftest import FakeApi

KEY = Key("team", "chat")


def autoscaler(generation: int = 1, uid: str = "u1", **spec: Any) -> ArksAutoscaler:
    given = {"target": {"name": "app"}, "maxReplicas": 5, "objectives": {"slotUsePercent": 50}, **spec}
    metadata = {"name": "chat", "namespace": "team", "uid": uid, "generation": generation}
    return ArksAutoscaler.from_dict({"metadata": metadata, "spec": given})


class Harness:
    def __init__(self, api: "FakeApi") -> None:
        self.api = api
        self.written: Cache[Written] = Cache()
        self.pods = PodAutoscalers(cast(KubeApi, api), self.written)

    @property
    def object(self) -> Json:
        return self.api.objects[POD_AUTOSCALER.kind, KEY]

    def watch(self, **conditions: str) -> None:
        """As the watch shows what is stored."""
        items = [{"type": type_, "status": status, "reason": "R"} for type_, status in conditions.items()]
        self.written.apply(KEY, read({**self.object, "status": {"conditions": items}}))


@pytest.fixture
def harness(api: "FakeApi") -> Harness:
    return Harness(api)


async def test_it_is_made_once(harness: Harness) -> None:
    for _ in range(2):
        assert await harness.pods.carry_out(autoscaler()) is None
    harness.watch()
    await harness.pods.carry_out(autoscaler())
    assert ["create"] == harness.api.writes


async def test_it_follows_a_new_spec_and_is_repaired(harness: Harness) -> None:
    await harness.pods.carry_out(autoscaler())
    harness.watch()
    await harness.pods.carry_out(autoscaler(2, maxReplicas=9))
    assert 9 == harness.object["spec"]["maxReplicas"]
    harness.object["spec"]["maxReplicas"] = 50
    harness.watch()
    await harness.pods.carry_out(autoscaler(2, maxReplicas=9))
    assert 9 == harness.object["spec"]["maxReplicas"]


async def test_fields_that_an_older_cluster_drops_start_no_endless_repair(harness: Harness) -> None:
    await harness.pods.carry_out(autoscaler())
    for rules in harness.object["spec"]["behavior"].values():
        del rules["tolerance"]
    harness.watch()
    await harness.pods.carry_out(autoscaler(2))
    assert ["create"] == harness.api.writes


async def test_one_of_another_owner_is_neither_changed_nor_deleted(harness: Harness) -> None:
    await harness.pods.carry_out(autoscaler())
    harness.object["metadata"]["ownerReferences"] = []
    harness.watch()
    limit = await harness.pods.carry_out(autoscaler(2, maxReplicas=9))
    assert limit is not None
    assert "NameConflict" == limit.reason
    await harness.pods.remove(KEY)
    assert ["create"] == harness.api.writes


async def test_a_new_autoscaler_of_the_same_name_takes_it_over(harness: Harness) -> None:
    """Otherwise Kubernetes deletes it with its former owner."""
    await harness.pods.carry_out(autoscaler())
    harness.watch()
    await harness.pods.carry_out(autoscaler(uid="u2"))
    assert ["u2"] == [owner["uid"] for owner in harness.object["metadata"]["ownerReferences"]]


async def test_a_cluster_without_scale_to_zero_gets_a_minimum_of_one(harness: Harness) -> None:
    harness.api.to_zero = False
    assert await harness.pods.carry_out(autoscaler(minReplicas=0)) is None
    assert 1 == harness.object["spec"]["minReplicas"]


async def test_one_that_does_not_act_is_a_limit(harness: Harness) -> None:
    await harness.pods.carry_out(autoscaler())
    harness.watch(ScalingActive="False")
    limit = await harness.pods.carry_out(autoscaler())
    assert limit is not None
    assert "HorizontalPodAutoscalerInactive" == limit.reason


async def test_it_is_deleted_with_its_autoscaler(harness: Harness) -> None:
    await harness.pods.remove(KEY)
    await harness.pods.carry_out(autoscaler())
    harness.watch()
    await harness.pods.remove(KEY)
    assert ["create", "delete"] == harness.api.writes
