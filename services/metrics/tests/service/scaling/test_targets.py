"""Which changes of autoscalers call for a decision."""

from typing import Any

from arks.contracts.resources import ArksAutoscaler, ArksAutoscalerStatus
from arks.kit.cache import Cache, Unreadable
from arks.kit.key import Key
from arks.metrics.service.scaling.targets import Targets

SCALER, APPLICATION = Key("default", "chat"), Key("default", "app")


def autoscaler(generation: int = 1, replicas: int = 0, **metadata: Any) -> ArksAutoscaler:
    spec = {"target": {"name": "app"}, "maxReplicas": 5, "objectives": {"waitingRequests": 1}}
    found = {"name": "chat", "uid": "1", "generation": generation} | metadata
    made = ArksAutoscaler.from_dict({"metadata": found, "spec": spec})
    return made.model_copy(update={"status": ArksAutoscalerStatus(replicas=replicas)})


def followed(cache: Cache[ArksAutoscaler]) -> tuple[Targets, list[Key]]:
    targets, changed = Targets(cache), list[Key]()
    targets.subscribe(changed.append)
    return targets, changed


def test_a_written_status_that_comes_back_calls_for_no_decision() -> None:
    cache: Cache[ArksAutoscaler] = Cache()
    cache.apply(SCALER, autoscaler())
    targets, changed = followed(cache)
    assert [SCALER] == changed
    cache.apply(SCALER, autoscaler(replicas=2))
    assert [SCALER] == changed
    assert {SCALER} == targets.scalers_of(APPLICATION)


def test_a_new_spec_a_deletion_and_an_unreadable_one_do() -> None:
    cache: Cache[ArksAutoscaler] = Cache()
    targets, changed = followed(cache)
    cache.apply(SCALER, autoscaler())
    cache.apply(SCALER, autoscaler(generation=2))
    cache.apply(SCALER, Unreadable("newer"))
    cache.apply(SCALER, autoscaler(generation=2, deletionTimestamp="2026-01-01T00:00:00Z"))
    cache.apply(SCALER, None)
    assert [SCALER] * 5 == changed
    assert set() == targets.scalers_of(APPLICATION)
