"""Desired and observed state of a workload, the same on one machine and on Kubernetes."""

from dataclasses import dataclass
from enum import StrEnum

from arks.app_deployer.domain.start_phases import StartPhases
from arks.contracts.resources import ArksApplication, InstanceState
from arks.events.v1.facts_pb2 import ModelFact

CRASH_LOOP_FAILURES = 3
"""Ends in a row, without having served well in between, that make a crash loop."""

ENGINE_ENDED = "EngineEnded"
"""Reason of a change: an engine ended without a request to stop."""
ENGINE_STUCK = "EngineStuck"
"""Reason of a change: an engine had requests and made no step, so it was ended."""


ALIVE = frozenset({InstanceState.STARTING, InstanceState.LOADING, InstanceState.READY})
ENDED = frozenset({InstanceState.BACK_OFF, InstanceState.FAILED})


@dataclass(frozen=True, slots=True)
class ObservedReplica:
    name: str
    state: InstanceState
    host: str = ""
    port: int = 0
    """0 until it has one."""
    updated: bool = True
    """It runs the newest spec."""
    slots: int = 0
    """Requests that it works on at once; 0 when unknown."""
    restarts: int = 0
    failures: int = 0
    """Ends in a row since it last served well."""
    reason: str = ""
    """CamelCase: what keeps it from starting at all, as ImagePullBackOff; empty for one whose engine ended."""
    message: str = ""
    """Why it is in this state, with the engine's last lines where it failed."""
    start: StartPhases | None = None
    """Of the engine that runs; None until it is ready, or if it was not observed."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a replica is not even started."""

    reason: str
    """CamelCase, for the condition."""
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """One condition."""

    status: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ObservedWorkload:
    """Observed state of one application's workload."""

    replicas: tuple[ObservedReplica, ...] = ()
    refusal: Refusal | None = None
    requeue_seconds: float | None = None
    """Seconds until a reconcile is due without a change; None: never."""
    terminating: bool = False
    """Deletion is not complete, even without replicas."""
    without_surge: bool = False
    """Old replicas stop first because there was no room beside them."""
    note: str = ""
    """What people should know of the way in which its engines start."""

    @property
    def failing(self) -> bool:
        """A replica fails repeatedly."""
        return any(replica.reason or replica.failures >= CRASH_LOOP_FAILURES for replica in self.replicas)

    def of(self, *states: InstanceState) -> tuple[ObservedReplica, ...]:
        return tuple(replica for replica in self.replicas if replica.state in states)


@dataclass(frozen=True, slots=True)
class Workload:
    """Desired state of an application."""

    application: ArksApplication
    model: ModelFact | None
    """None: nothing may start now; running replicas continue."""


class ReplicaVerb(StrEnum):
    """Verbs of events of a replica."""

    STARTED = "replica-started"
    READY = "replica-ready"
    EXITED = "replica-exited"


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a workload that no reconcile caused."""

    namespace: str
    application: str
    replica: str = ""
    verb: ReplicaVerb | None = None
    """None: no event."""
    reason: str = ""
    message: str = ""
    last_lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """Resources of this machine for engines."""

    cpus: int
    available_memory_bytes: int
    has_gpu: bool
    programs: frozenset[str]
    """Installed programs of engines."""
