"""Status and fact of a disaggregated application."""

from datetime import UTC, datetime
from typing import Any

import pytest

from arks.app_deployer.domain.disaggregated import RUNTIME, Seen, fact_of, status_of
from arks.app_deployer.domain.status import ModelView
from arks.app_deployer.domain.workload import Observed, Refusal, Replica, ReplicaState
from arks.contracts.resources import ArksDisaggregatedApplication, ArksDisaggregatedApplicationStatus
from arks.events.v1 import facts_pb2
from arks.events.v1.facts_pb2 import ModelFact

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LOADED = ModelView(ModelFact(ready=True, path="/models/m"))
UP = Observed((Replica("up", ReplicaState.READY, "10.0.0.1", 8080),))
STARTING = Observed((Replica("new", ReplicaState.STARTING),))
NO_IMAGE = Observed((Replica("bad", ReplicaState.FAILED, reason="ImagePullBackOff", message="no image x"),))
NO_GPU = Refusal("RuntimeNotSupport", "no GPU")
CHECKED = "+PrecheckPass +ModelLoadSucceeded"


def app(**parts: dict[str, Any]) -> ArksDisaggregatedApplication:
    spec = {"model": {"name": "m"}, "router": {}, "prefill": {}, "decode": {}} | parts
    manifest = {"kind": "ArksDisaggregatedApplication", "metadata": {"name": "pd", "generation": 2}, "spec": spec}
    return ArksDisaggregatedApplication.from_dict({"apiVersion": "arks.ai/v1"} | manifest)


def shown(status: ArksDisaggregatedApplicationStatus) -> str:
    signs = [("+" if one.status == "True" else "-") + one.reason for one in status.conditions]
    return " ".join([status.phase.value, *signs])


@pytest.mark.parametrize(
    ("why", "given", "expected"),
    [
        ("all parts serve", {"seen": Seen(UP, UP, UP)}, f"Running {CHECKED} +Running"),
        ("no engine for decode", {"seen": Seen(UP, UP, STARTING)}, f"Creating {CHECKED} -Starting"),
        ("decode has no image", {"seen": Seen(UP, UP, NO_IMAGE)}, f"Failed {CHECKED} -ImagePullBackOff"),
        ("nothing yet", {}, f"Creating {CHECKED} -Starting"),
        ("refused", {"seen": Seen(refusal=Refusal("Underlay", "no"))}, f"Failed {CHECKED} -Underlay"),
        ("nobody wants prefill", {"parts": {"prefill": {"replicas": 0}}}, f"Pending {CHECKED} -ScaledToZero"),
        ("cannot run here", {"problem": NO_GPU}, "Failed -RuntimeNotSupport +ModelLoadSucceeded -RuntimeNotSupport"),
        (
            "no model",
            {"model": ModelView(None, 5.0)},
            "Failed +PrecheckPass -ModelNotExist -WaitingForModel",
        ),
    ],
)
def test_phase_and_conditions(why: str, given: dict[str, Any], expected: str) -> None:
    seen, model = given.get("seen", Seen()), given.get("model", LOADED)
    assert (why, expected) == (
        why,
        shown(status_of(app(**given.get("parts", {})), given.get("problem"), model, seen, NOW)),
    )


def test_parts_are_counted_without_those_that_leave() -> None:
    leaving = Replica("old", ReplicaState.DRAINING)
    old = Replica("old-1", ReplicaState.READY, updated=False)
    seen = Seen(prefill=Observed((*UP.replicas, *STARTING.replicas, old, leaving)))
    found = status_of(app(), None, LOADED, seen, NOW).prefill
    assert (3, 2, 2) == (found.replicas, found.ready_replicas, found.updated_replicas)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Seen(UP, UP, UP), facts_pb2.REPLICA_STATE_READY),
        (Seen(UP, UP, STARTING), facts_pb2.REPLICA_STATE_STARTING),
        (Seen(UP, STARTING, UP), facts_pb2.REPLICA_STATE_STARTING),
    ],
)
def test_a_router_gets_traffic_only_with_engines_of_both_stages(seen: Seen, expected: int) -> None:
    fact = fact_of(app(), seen)
    assert [("10.0.0.1", 8080, expected)] == [(one.host, one.port, one.state) for one in fact.replicas]
    assert ("m", RUNTIME, 1) == (fact.served_model, fact.runtime, fact.desired)
