"""Autoscalers with real NATS and a scripted engine."""

from typing import TYPE_CHECKING

import pytest

from arks.contracts.resources import ArksAutoscaler
from arks.contracts.subjects import demand_subject
from arks.events.v1.load_pb2 import DemandReport
from arks.kit.key import Key
from arks.kit.testing.wait import eventually

if TYPE_CHECKING:
    from services.metrics.tests.conftest import ScriptedEngine, Service

pytestmark = pytest.mark.real
SCALER = Key("default", "chat")


async def test_the_wanted_number_follows_the_load_to_zero_and_back(
    service: "Service", engine: "ScriptedEngine"
) -> None:
    engine.page = b"vllm:num_requests_running 6\nvllm:num_requests_waiting 2\n"
    service.set_replicas(engine.port, slots=4)
    spec = {
        "target": {"name": "app"},
        "minReplicas": 0,
        "maxReplicas": 5,
        "objectives": {"slotUsePercent": 100},
        "idleSeconds": 1,
    }
    await service.autoscalers.apply(ArksAutoscaler.from_dict({"metadata": {"name": "chat"}, "spec": spec}))

    def wanted() -> int | None:
        fact = service.scaling.get(SCALER)
        return None if fact is None else fact.replicas

    await eventually(lambda: wanted() == 2, within_seconds=30, what="two replicas for eight requests")
    engine.page = b"vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n"
    await eventually(lambda: wanted() == 0, within_seconds=30, what="no replica without requests")
    service.set_replicas()
    report = DemandReport(namespace="default", endpoint="m", refused=1)

    async def wake() -> bool:
        await service.bus.publish(demand_subject("default", "m"), report.SerializeToString())
        return wanted() == 1

    await eventually(wake, within_seconds=30, what="a replica for a request")
    status = await service.autoscalers.read(SCALER)
    assert status is not None
    assert status.status is not None
    assert "True" == status.status.conditions[0].status
