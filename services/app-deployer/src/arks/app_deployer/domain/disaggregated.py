"""A disaggregated application: observed parts, status and fact. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime

from arks.app_deployer.domain.facts import missing, replica_fact
from arks.app_deployer.domain.progress import progressing
from arks.app_deployer.domain.status import ModelView, conditions_of, loaded, precheck, running, trouble_of
from arks.app_deployer.domain.workload import ObservedWorkload, Refusal, Verdict
from arks.contracts.facts import ReplicaFact, ReplicaState, replicas_fact
from arks.contracts.resources import (
    ApplicationPhase,
    ArksDisaggregatedApplication,
    ArksDisaggregatedApplicationStatus,
    InstanceState,
    WorkloadStatus,
)
from arks.events.v1.facts_pb2 import ReplicasFact, StageFact

STAGES = ("prefill", "decode")
_NOTHING = ObservedWorkload()


@dataclass(frozen=True, slots=True)
class ObservedDisaggregated:
    """Observed state of one disaggregated application."""

    router: ObservedWorkload = _NOTHING
    prefill: ObservedWorkload = _NOTHING
    decode: ObservedWorkload = _NOTHING
    refusal: Refusal | None = None
    requeue_seconds: float | None = None
    terminating: bool = False
    """Deletion is not complete."""
    note: str = ""
    """What people should know of the way in which its parts start."""

    @property
    def parts(self) -> dict[str, ObservedWorkload]:
        """In the order in which requests pass them."""
        return {"router": self.router, "prefill": self.prefill, "decode": self.decode}

    @property
    def serving(self) -> bool:
        """A request finds a router, and the router an engine of each stage."""
        return all(part.of(InstanceState.READY) for part in self.parts.values())


def status_of(
    application: ArksDisaggregatedApplication,
    problem: Refusal | None,
    model: ModelView,
    observed: ObservedDisaggregated,
    now: datetime,
    *,
    overdue_seconds: float | None = None,
) -> ArksDisaggregatedApplicationStatus:
    """`problem`: why this home cannot run the spec. `now` becomes the time of conditions that change.

    `overdue_seconds`: the rollout's deadline, if nothing has changed for so long.
    """
    desired = _desired(application)
    generation = application.metadata.generation
    before = application.status.conditions if application.status else []
    verdicts = {
        "Precheck": precheck(problem, observed.note),
        "Loaded": loaded(application.spec.model.name, model, serving=observed.serving),
        "Ready": _ready(application, problem, model, observed),
        "Progressing": progressing(
            [(desired[name], part) for name, part in observed.parts.items()],
            problem or _problem_of(observed),
            waits_for=model.problem,
            overdue_seconds=overdue_seconds,
        ),
    }
    return ArksDisaggregatedApplicationStatus(
        phase=_phase(application, problem, model, observed),
        router=_counts(observed.router),
        prefill=_counts(observed.prefill),
        decode=_counts(observed.decode),
        observed_generation=generation,
        conditions=conditions_of(before, verdicts, generation, now),
    )


def _counts(part: ObservedWorkload) -> WorkloadStatus:
    counted = [replica for replica in part.replicas if replica.state is not InstanceState.DRAINING]
    return WorkloadStatus(
        replicas=len(counted),
        ready_replicas=len(part.of(InstanceState.READY)),
        updated_replicas=sum(replica.updated for replica in counted),
    )


def _desired(application: ArksDisaggregatedApplication) -> dict[str, int]:
    spec = application.spec
    return {"router": spec.router.replicas, "prefill": spec.prefill.replicas, "decode": spec.decode.replicas}


def _ready(
    application: ArksDisaggregatedApplication,
    problem: Refusal | None,
    model: ModelView,
    observed: ObservedDisaggregated,
) -> Verdict:
    trouble = problem or _problem_of(observed)
    desired = _desired(application)
    counts = ", ".join(
        f"{name} {len(part.of(InstanceState.READY))} of {desired[name]}" for name, part in observed.parts.items()
    )
    if observed.serving:
        return running(f"{counts} serve", trouble, application.spec.model.name, model)
    if trouble is not None:
        return Verdict(False, trouble.reason, trouble.message)
    if missing := [name for name, count in desired.items() if count == 0]:
        return Verdict(False, "ScaledToZero", f"scaled to zero: {' and '.join(missing)}")
    if not model.usable:
        return Verdict(False, "WaitingForModel", "nothing runs until the model is loaded")
    return Verdict(False, "Starting", f"not every part serves: {counts}")


def _problem_of(observed: ObservedDisaggregated) -> Refusal | None:
    """The problem that keeps a part from serving; parts without a ready replica first."""
    if observed.refusal is not None:
        return observed.refusal
    parts = sorted(observed.parts.values(), key=lambda part: bool(part.of(InstanceState.READY)))
    return next((trouble for part in parts if (trouble := trouble_of(None, part)) is not None), None)


def _phase(
    application: ArksDisaggregatedApplication,
    problem: Refusal | None,
    model: ModelView,
    observed: ObservedDisaggregated,
) -> ApplicationPhase:
    if problem is not None:
        return ApplicationPhase.FAILED
    if observed.serving:
        return ApplicationPhase.RUNNING
    if not model.usable:
        return ApplicationPhase.FAILED if model.failed else ApplicationPhase.LOADING
    if 0 in _desired(application).values():
        return ApplicationPhase.PENDING
    failing = observed.refusal is not None or any(part.failing for part in observed.parts.values())
    return ApplicationPhase.FAILED if failing else ApplicationPhase.CREATING


def fact_of(
    application: ArksDisaggregatedApplication,
    observed: ObservedDisaggregated,
    dialect: str = "",
    stage_dialect: str = "",
) -> ReplicasFact:
    """The fact lists routers, which receive the requests, and beside them the engines of the stages, for autoscalers.
    Routers are ready only with a ready engine of each stage.

    `dialect`: the runtime whose names the routers' metrics have; empty: no engine's. `stage_dialect`: likewise of the
    engines; empty: they have no page.
    """
    engines = observed.prefill.of(InstanceState.READY) and observed.decode.of(InstanceState.READY)
    replicas = [replica_fact(replica) for replica in observed.router.replicas]
    if not engines:
        replicas = [_without_engines(replica) for replica in replicas]
    fact = replicas_fact(application, replicas)
    fact.runtime = dialect or fact.runtime
    desired = _desired(application) if application.metadata.deletion_timestamp is None else {}
    parts = {"prefill": observed.prefill, "decode": observed.decode}
    fact.stages.extend(_stage(name, part, desired.get(name, 0), stage_dialect) for name, part in parts.items())
    return fact


def _stage(name: str, part: ObservedWorkload, desired: int, dialect: str) -> StageFact:
    replicas = [replica_fact(replica).to_message() for replica in part.replicas]
    fact = StageFact(name=name, runtime=dialect, desired=desired, replicas=replicas)
    if len(part.of(InstanceState.READY)) < desired:
        fact.missing_reason, fact.missing_message = missing(part)
    return fact


def _without_engines(router: ReplicaFact) -> ReplicaFact:
    return replace(router, state=ReplicaState.STARTING) if router.state is ReplicaState.READY else router


def on_one_machine(
    application: str, program: ObservedWorkload, prefillers: int, decoders: int, *, terminating: bool = False
) -> ObservedDisaggregated:
    """One program that has the router and all engines: each part has its state. Its slots are those of its decoders."""

    def part(name: str, count: int) -> ObservedWorkload:
        first = program.replicas[:1]
        slots = first[0].slots // count if first and count and name == "decode" else 0
        numbered = (
            replace(first[0], name=f"{application}-{name}-{number}", slots=slots)
            for number in range(count if first else 0)
        )
        return replace(program, replicas=tuple(numbered))

    return ObservedDisaggregated(
        router=program,
        prefill=part("prefill", prefillers),
        decode=part("decode", decoders),
        refusal=program.refusal,
        requeue_seconds=program.requeue_seconds,
        terminating=terminating,
    )
