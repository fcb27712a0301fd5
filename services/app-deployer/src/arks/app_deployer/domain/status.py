"""The status of an application: phase, conditions, counts. Pure; true at every moment, so nothing is sticky."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import overload

from arks.app_deployer.domain.fit import CONDITION as FITS
from arks.app_deployer.domain.launch.manifests import ROLE
from arks.app_deployer.domain.progress import progressing
from arks.app_deployer.domain.start_phases import StartPhases
from arks.app_deployer.domain.workload import CRASH_LOOP_FAILURES, ObservedReplica, ObservedWorkload, Refusal, Verdict
from arks.contracts.conditions import initial_conditions, set_condition
from arks.contracts.names import APPLICATION_LABEL
from arks.contracts.resources import (
    ApplicationPhase,
    ArksApplication,
    ArksApplicationStatus,
    Condition,
    InstanceStart,
    InstanceState,
    InstanceStatus,
)
from arks.events.v1.facts_pb2 import ModelFact

MODEL_GRACE_SECONDS = 5.0
"""An application may be applied just before its model: only after this time is its absence a failure."""
_MOST_MESSAGE = 4000
_EXPLAINED_BY_FIT = frozenset({"Starting", "EngineEnded", "EngineCrashLoop"})


@dataclass(frozen=True, slots=True)
class ModelView:
    fact: ModelFact | None
    missing_seconds: float = 0.0
    """How long there has been no fact."""

    @property
    def usable(self) -> bool:
        return self.fact is not None and self.fact.ready

    @property
    def patience_seconds(self) -> float | None:
        """Until its absence is a failure; None: there is nothing to wait for."""
        return MODEL_GRACE_SECONDS - self.missing_seconds if self.fact is None and not self.failed else None

    @property
    def problem(self) -> str:
        """Why nothing can start now; empty if it can."""
        return "" if self.usable else "nothing starts until the model is loaded"

    @property
    def failed(self) -> bool:
        if self.fact is None:
            return self.missing_seconds >= MODEL_GRACE_SECONDS
        return not self.fact.ready and self.fact.reason.endswith("Failed")


def status_of(
    application: ArksApplication,
    problem: Refusal | None,
    model: ModelView,
    observed: ObservedWorkload,
    now: datetime,
    *,
    fit: Verdict | None = None,
    overdue_seconds: float | None = None,
) -> ArksApplicationStatus:
    """`problem`: why this home cannot run the spec. `now` becomes the time of conditions that change.

    `fit`: whether the model fits the memory; None: unknown.

    `overdue_seconds`: the rollout's deadline, if nothing has changed for so long.
    """
    generation = application.metadata.generation
    before = application.status.conditions if application.status else []
    desired = application.spec.replicas
    known = application.status.model_generation if application.status else None
    serving = served_generation(known, model, observed)
    outdated = _outdated(serving, model)
    verdicts = {
        "Precheck": precheck(problem, observed.note),
        "Loaded": loaded(application.spec.model.name, model, bool(observed.of(InstanceState.READY))),
        "Ready": outdated or with_fit(_ready(application, problem, model, observed), fit),
        "Progressing": progressing(
            [(desired, observed)],
            trouble_of(problem, observed),
            waits_for=model.problem,
            overdue_seconds=overdue_seconds,
        ),
    }
    verdicts |= {FITS: fit} if fit is not None else {}
    counted = [replica for replica in observed.replicas if replica.state is not InstanceState.DRAINING]
    return ArksApplicationStatus(
        phase=_phase(desired, problem, model, observed, outdated=outdated is not None),
        replicas=len(counted),
        ready_replicas=len(observed.of(InstanceState.READY)),
        updated_replicas=sum(replica.updated for replica in counted),
        model_generation=serving,
        observed_generation=generation,
        conditions=conditions_of(before, verdicts, generation, now),
        selector=f"{APPLICATION_LABEL}={application.name},{ROLE}=leader",  # an HPA counts one pod a replica
        instances=[_instance(replica) for replica in observed.replicas],
    )


def served_generation(known: int | None, model: ModelView, observed: ObservedWorkload) -> int | None:
    """Generation of the ArksModel whose files the ready replicas have loaded; None if no replica is ready.

    `known`: the last result, which holds until a replica is ready that was started for the present generation.
    """
    ready = observed.of(InstanceState.READY)
    if not ready:
        return None
    if model.fact is not None and model.usable and any(replica.updated for replica in ready):
        return model.fact.generation
    return known


def _outdated(serving: int | None, model: ModelView) -> Verdict | None:
    """Replicas that answer with the files of a former spec of the model are not what the user applied."""
    if serving is None or model.fact is None or model.fact.generation == serving:
        return None
    present = model.fact.generation
    message = f"ready replicas serve generation {serving} of ArksModel {model.fact.name}, not the present {present}"
    return Verdict(False, "ModelOutdated", message)


def conditions_of(
    before: Sequence[Condition], verdicts: dict[str, Verdict], generation: int | None, now: datetime
) -> list[Condition]:
    kept = [condition for condition in before if condition.type in verdicts]
    known = {condition.type for condition in kept}
    missing = [type_ for type_ in ArksApplicationStatus.condition_types if type_ not in known]
    conditions = [*kept, *initial_conditions(missing, now=now)]
    for type_, verdict in verdicts.items():
        conditions = set_condition(
            conditions,
            type_,
            verdict.status,
            verdict.reason,
            verdict.message[:_MOST_MESSAGE],
            now=now,
            observed_generation=generation,
        )
    return conditions


def precheck(problem: Refusal | None, note: str = "") -> Verdict:
    """`note`: what people should know of an application that passes."""
    if problem is not None:
        return Verdict(False, problem.reason, problem.message)
    return Verdict(True, "PrecheckPass", "The application passed the pre-checking" + (f"; {note}" if note else ""))


def loaded(name: str, model: ModelView, serving: bool) -> Verdict:
    if model.fact is None:
        aside = "; replicas that have it loaded go on serving" if serving else ""
        return Verdict(False, "ModelNotExist", f"there is no ArksModel {name} in this namespace{aside}")
    if not model.fact.ready:
        why = model.fact.message or "it is not ready yet"
        return Verdict(False, "ModelLoadFailed" if model.failed else "ModelLoading", f"ArksModel {name}: {why}")
    return Verdict(True, "ModelLoadSucceeded", "The referenced model is loaded")


def _ready(
    application: ArksApplication, problem: Refusal | None, model: ModelView, observed: ObservedWorkload
) -> Verdict:
    desired, ready = application.spec.replicas, len(observed.of(InstanceState.READY))
    trouble = trouble_of(problem, observed)
    if ready:
        return running(f"{ready} of {desired} replicas serve", trouble, application.spec.model.name, model)
    if trouble is not None:
        return Verdict(False, trouble.reason, trouble.message)
    if desired == 0:
        return Verdict(False, "ScaledToZero", "scaled to zero")
    if not model.usable:
        return Verdict(False, "WaitingForModel", "nothing runs until the model is loaded")
    return Verdict(False, "Starting", _progress(desired, observed))


def running(counts: str, trouble: Refusal | None, name: str, model: ModelView) -> Verdict:
    """What serves, with what would keep another replica from it: without its model none starts."""
    remarks = [trouble.message] if trouble is not None else []
    if model.fact is None and model.failed:
        remarks.append(f"there is no ArksModel {name} in this namespace, without which no replica starts again")
    return Verdict(True, "Running", "; ".join([f"The LLM service is running: {counts}", *remarks]))


def with_fit(ready: Verdict, fit: Verdict | None) -> Verdict:
    """Name the likely cause where replicas do not serve."""
    if ready.status or fit is None or fit.status or ready.reason not in _EXPLAINED_BY_FIT:
        return ready
    return Verdict(False, ready.reason, f"{ready.message}; {fit.message}")


def trouble_of(problem: Refusal | None, observed: ObservedWorkload) -> Refusal | None:
    """The worst problem that keeps replicas from serving; None without one."""
    if problem is not None:
        return problem
    if stuck := [replica for replica in observed.replicas if replica.reason]:
        return Refusal(stuck[0].reason, f"{stuck[0].name}: {stuck[0].message}")
    ended = [replica for replica in observed.replicas if replica.failures and replica.message]
    if ended:
        worst = max(ended, key=lambda replica: (replica.failures, replica.name))
        loops = worst.failures >= CRASH_LOOP_FAILURES
        times = f" ({worst.failures} times in a row)" if worst.failures > 1 else ""
        return Refusal("EngineCrashLoop" if loops else "EngineEnded", f"{worst.name} ended{times}: {worst.message}")
    return observed.refusal


def _progress(desired: int, observed: ObservedWorkload) -> str:
    states = ", ".join(f"{replica.name} is {replica.state.lower()}" for replica in observed.replicas)
    return f"0 of {desired} replicas serve" + (f": {states}" if states else "")


def _phase(
    desired: int, problem: Refusal | None, model: ModelView, observed: ObservedWorkload, *, outdated: bool
) -> ApplicationPhase:
    if problem is not None:
        return ApplicationPhase.FAILED
    if not outdated and observed.of(InstanceState.READY):
        return ApplicationPhase.RUNNING
    if not model.usable:
        return ApplicationPhase.FAILED if model.failed else ApplicationPhase.LOADING
    if desired == 0:
        return ApplicationPhase.PENDING
    loading = observed.of(InstanceState.STARTING, InstanceState.LOADING)
    refused = observed.refusal is not None and not loading
    return ApplicationPhase.FAILED if observed.failing or refused else ApplicationPhase.CREATING


def _instance(replica: ObservedReplica) -> InstanceStatus:
    return InstanceStatus(
        name=replica.name,
        address=f"{replica.host}:{replica.port}" if replica.port else "",
        state=replica.state.value,
        restarts=replica.restarts,
        message=replica.message[:_MOST_MESSAGE],
        start=_start(replica.start) if replica.start is not None else None,
    )


def _start(phases: StartPhases) -> InstanceStart:
    return InstanceStart(
        seconds=_rounded(phases.seconds),
        prepare_seconds=_rounded(phases.prepare_seconds),
        image_seconds=_rounded(phases.image_seconds),
        read_ahead_seconds=_rounded(phases.read_ahead_seconds),
        load_seconds=_rounded(phases.load_seconds),
        warm_up_seconds=_rounded(phases.warm_up_seconds),
    )


def recalled(start: InstanceStart | None) -> StartPhases | None:
    """The phases of a stored status."""
    if start is None:
        return None
    return StartPhases(
        start.load_seconds,
        start.warm_up_seconds,
        start.prepare_seconds,
        start.image_seconds,
        start.read_ahead_seconds,
    )


@overload
def _rounded(seconds: float) -> float: ...
@overload
def _rounded(seconds: float | None) -> float | None: ...
def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
