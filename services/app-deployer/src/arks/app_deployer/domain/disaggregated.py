"""A disaggregated application: what is seen of its parts, its status, and what neighbours are told. Pure."""

from dataclasses import dataclass
from datetime import datetime

from arks.app_deployer.domain.facts import replica_fact
from arks.app_deployer.domain.status import ModelView, Verdict, conditions_of, loaded, precheck, trouble_of
from arks.app_deployer.domain.workload import Observed, Refusal, ReplicaState
from arks.contracts.resources import (
    ApplicationPhase,
    ArksDisaggregatedApplication,
    ArksDisaggregatedApplicationStatus,
    WorkloadStatus,
)
from arks.events.v1 import facts_pb2
from arks.events.v1.facts_pb2 import ReplicasFact

RUNTIME = "sglang-router"
"""In the fact: a router's metrics are not an engine's."""

_NOTHING = Observed()


@dataclass(frozen=True, slots=True)
class Seen:
    """All that is seen of one application."""

    router: Observed = _NOTHING
    prefill: Observed = _NOTHING
    decode: Observed = _NOTHING
    refusal: Refusal | None = None
    again_seconds: float | None = None
    leaving: bool = False
    """Something of it is still there."""

    @property
    def parts(self) -> dict[str, Observed]:
        """In the order in which requests pass them."""
        return {"router": self.router, "prefill": self.prefill, "decode": self.decode}

    @property
    def serving(self) -> bool:
        """A request finds a router, and the router an engine of each stage."""
        return all(part.of(ReplicaState.READY) for part in self.parts.values())


def status_of(
    application: ArksDisaggregatedApplication, problem: Refusal | None, model: ModelView, seen: Seen, now: datetime
) -> ArksDisaggregatedApplicationStatus:
    """`problem`: why this home cannot run the spec. `now` becomes the time of conditions that change."""
    generation = application.metadata.generation
    before = application.status.conditions if application.status else []
    verdicts = {
        "Precheck": precheck(problem),
        "Loaded": loaded(application.spec.model.name, model, serving=seen.serving),
        "Ready": _ready(application, problem, model, seen),
    }
    return ArksDisaggregatedApplicationStatus(
        phase=_phase(application, problem, model, seen),
        router=_counts(seen.router),
        prefill=_counts(seen.prefill),
        decode=_counts(seen.decode),
        observed_generation=generation,
        conditions=conditions_of(before, verdicts, generation, now),
    )


def _counts(part: Observed) -> WorkloadStatus:
    counted = [replica for replica in part.replicas if replica.state is not ReplicaState.DRAINING]
    return WorkloadStatus(
        replicas=len(counted),
        ready_replicas=len(part.of(ReplicaState.READY)),
        updated_replicas=sum(replica.updated for replica in counted),
    )


def _wanted(application: ArksDisaggregatedApplication) -> dict[str, int]:
    spec = application.spec
    return {"router": spec.router.replicas, "prefill": spec.prefill.replicas, "decode": spec.decode.replicas}


def _ready(application: ArksDisaggregatedApplication, problem: Refusal | None, model: ModelView, seen: Seen) -> Verdict:
    trouble = problem or _trouble(seen)
    wanted = _wanted(application)
    counts = ", ".join(
        f"{name} {len(part.of(ReplicaState.READY))} of {wanted[name]}" for name, part in seen.parts.items()
    )
    if seen.serving:
        rest = f"; {trouble.message}" if trouble else ""
        return Verdict(True, "Running", f"The LLM service is running: {counts} serve{rest}")
    if trouble is not None:
        return Verdict(False, trouble.reason, trouble.message)
    if missing := [name for name, count in wanted.items() if count == 0]:
        return Verdict(False, "ScaledToZero", f"no replicas are wanted of {' and '.join(missing)}")
    if not model.usable:
        return Verdict(False, "WaitingForModel", "nothing runs until the model is loaded")
    return Verdict(False, "Starting", f"not every part serves: {counts}")


def _trouble(seen: Seen) -> Refusal | None:
    """What keeps parts from serving, those first that have nobody."""
    if seen.refusal is not None:
        return seen.refusal
    parts = sorted(seen.parts.values(), key=lambda part: bool(part.of(ReplicaState.READY)))
    return next((trouble for part in parts if (trouble := trouble_of(None, part)) is not None), None)


def _phase(
    application: ArksDisaggregatedApplication, problem: Refusal | None, model: ModelView, seen: Seen
) -> ApplicationPhase:
    if problem is not None:
        return ApplicationPhase.FAILED
    if seen.serving:
        return ApplicationPhase.RUNNING
    if not model.usable:
        return ApplicationPhase.FAILED if model.failed else ApplicationPhase.LOADING
    if 0 in _wanted(application).values():
        return ApplicationPhase.PENDING
    hopeless = seen.refusal is not None or any(part.hopeless for part in seen.parts.values())
    return ApplicationPhase.FAILED if hopeless else ApplicationPhase.CREATING


def fact_of(application: ArksDisaggregatedApplication, seen: Seen) -> ReplicasFact:
    """Routers are what requests go to; without an engine behind them they are not ready."""
    deleted = application.metadata.deletion_timestamp is not None
    replicas = [replica_fact(replica) for replica in seen.router.replicas]
    engines = seen.prefill.of(ReplicaState.READY) and seen.decode.of(ReplicaState.READY)
    for replica in replicas:
        if not engines and replica.state == facts_pb2.REPLICA_STATE_READY:
            replica.state = facts_pb2.REPLICA_STATE_STARTING
    return ReplicasFact(
        namespace=application.namespace,
        application=application.name,
        generation=application.metadata.generation or 0,
        served_model=application.spec.served_name,
        runtime=RUNTIME,
        desired=0 if deleted else application.spec.router.replicas,
        replicas=replicas,
    )
