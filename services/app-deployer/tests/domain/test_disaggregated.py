"""Status and fact of a disaggregated application."""

from datetime import UTC, datetime
from typing import Any

import pytest

from arks.app_deployer.domain.disaggregated import ObservedDisaggregated, fact_of, on_one_machine, status_of
from arks.app_deployer.domain.status import ModelView
from arks.app_deployer.domain.workload import ObservedReplica, ObservedWorkload, Refusal
from arks.contracts.facts import ROUTER_RUNTIME
from arks.contracts.resources import ArksDisaggregatedApplication, ArksDisaggregatedApplicationStatus, InstanceState
from arks.events.v1 import facts_pb2
from arks.events.v1.facts_pb2 import ModelFact

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LOADED = ModelView(ModelFact(ready=True, path="/models/m"))
UP = ObservedWorkload((ObservedReplica("up", InstanceState.READY, "10.0.0.1", 8080),))
STARTING = ObservedWorkload((ObservedReplica("new", InstanceState.STARTING),))
NO_IMAGE = ObservedWorkload(
    (ObservedReplica("bad", InstanceState.FAILED, reason="ImagePullBackOff", message="no image x"),)
)
NO_GPU = Refusal("RuntimeNotSupport", "no GPU")
CHECKED = "+PrecheckPass +ModelLoadSucceeded"


def app(**parts: dict[str, Any]) -> ArksDisaggregatedApplication:
    spec = {"model": {"name": "m"}, "router": {}, "prefill": {}, "decode": {}} | parts
    manifest = {"kind": "ArksDisaggregatedApplication", "metadata": {"name": "pd", "generation": 2}, "spec": spec}
    return ArksDisaggregatedApplication.from_dict({"apiVersion": "arks.ai/v1"} | manifest)


def shown(status: ArksDisaggregatedApplicationStatus) -> str:
    signs = [("+" if item.status == "True" else "-") + item.reason for item in status.conditions[:3]]
    return " ".join([status.phase.value, *signs])


@pytest.mark.parametrize(
    ("why", "given", "expected"),
    [
        ("all parts serve", {"observed": ObservedDisaggregated(UP, UP, UP)}, f"Running {CHECKED} +Running"),
        (
            "no engine for decode",
            {"observed": ObservedDisaggregated(UP, UP, STARTING)},
            f"Creating {CHECKED} -Starting",
        ),
        (
            "decode has no image",
            {"observed": ObservedDisaggregated(UP, UP, NO_IMAGE)},
            f"Failed {CHECKED} -ImagePullBackOff",
        ),
        ("nothing yet", {}, f"Creating {CHECKED} -Starting"),
        (
            "refused",
            {"observed": ObservedDisaggregated(refusal=Refusal("Underlay", "no"))},
            f"Failed {CHECKED} -Underlay",
        ),
        ("no process wants prefill", {"parts": {"prefill": {"replicas": 0}}}, f"Pending {CHECKED} -ScaledToZero"),
        ("cannot run here", {"problem": NO_GPU}, "Failed -RuntimeNotSupport +ModelLoadSucceeded -RuntimeNotSupport"),
        (
            "no model",
            {"model": ModelView(None, 5.0)},
            "Failed +PrecheckPass -ModelNotExist -WaitingForModel",
        ),
    ],
)
def test_phase_and_conditions(why: str, given: dict[str, Any], expected: str) -> None:
    observed, model = given.get("observed", ObservedDisaggregated()), given.get("model", LOADED)
    assert (why, expected) == (
        why,
        shown(status_of(app(**given.get("parts", {})), given.get("problem"), model, observed, NOW)),
    )


def test_draining_replicas_are_not_counted() -> None:
    terminating = ObservedReplica("old", InstanceState.DRAINING)
    old = ObservedReplica("old-1", InstanceState.READY, updated=False)
    observed = ObservedDisaggregated(prefill=ObservedWorkload((*UP.replicas, *STARTING.replicas, old, terminating)))
    found = status_of(app(), None, LOADED, observed, NOW).prefill
    assert (3, 2, 2) == (found.replicas, found.ready_replicas, found.updated_replicas)


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        (ObservedDisaggregated(UP, UP, UP), facts_pb2.REPLICA_STATE_READY),
        (ObservedDisaggregated(UP, UP, STARTING), facts_pb2.REPLICA_STATE_STARTING),
        (ObservedDisaggregated(UP, STARTING, UP), facts_pb2.REPLICA_STATE_STARTING),
    ],
)
def test_a_router_gets_traffic_only_with_engines_of_both_stages(observed: ObservedDisaggregated, expected: int) -> None:
    fact = fact_of(app(), observed)
    assert [("10.0.0.1", 8080, expected)] == [(item.host, item.port, item.state) for item in fact.replicas]
    assert ("m", ROUTER_RUNTIME, 1) == (fact.served_model, fact.runtime, fact.desired)


def test_the_fact_names_the_runtime_whose_names_the_routers_metrics_have() -> None:
    assert "ark" == fact_of(app(), ObservedDisaggregated(UP, UP, UP), "ark").runtime


def test_slots_of_the_one_program_are_shared_by_its_decoders() -> None:
    program = ObservedWorkload((ObservedReplica("pd-0", InstanceState.READY, "127.0.0.1", 7, slots=8),))
    stages = {stage.name: stage for stage in fact_of(app(), on_one_machine("pd", program, 1, 2)).stages}
    assert [4, 4] == [engine.slots for engine in stages["decode"].replicas]
    assert [0] == [engine.slots for engine in stages["prefill"].replicas]


def test_a_stage_has_the_reason_why_its_engines_do_not_start() -> None:
    stages = {stage.name: stage for stage in fact_of(app(), ObservedDisaggregated(UP, UP, NO_IMAGE)).stages}
    assert ["", "ImagePullBackOff"] == [stages[name].missing_reason for name in ("prefill", "decode")]
