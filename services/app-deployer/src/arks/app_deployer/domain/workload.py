"""What is wanted of a workload and what is seen of it. The same on one machine and on Kubernetes."""

from dataclasses import dataclass
from enum import StrEnum

from arks.contracts.resources import ArksApplication
from arks.events.v1.facts_pb2 import ModelFact

CRASH_LOOP_FAILURES = 3
"""Ends in a row, without having served well in between, that make a crash loop."""

ENGINE_ENDED = "EngineEnded"
"""Reason of a change: an engine ended without having been asked."""


class ReplicaState(StrEnum):
    STARTING = "Starting"
    """Its process exists and does not answer yet."""
    LOADING = "Loading"
    """It answers, but its model does not."""
    READY = "Ready"
    DRAINING = "Draining"
    """It ends what it works on and gets nothing new."""
    BACK_OFF = "BackOff"
    """It ended and will be started again."""
    FAILED = "Failed"
    """It ended again and again; it is still tried, seldom."""


ALIVE = frozenset({ReplicaState.STARTING, ReplicaState.LOADING, ReplicaState.READY})
ENDED = frozenset({ReplicaState.BACK_OFF, ReplicaState.FAILED})


@dataclass(frozen=True, slots=True)
class Replica:
    name: str
    state: ReplicaState
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


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a replica is not even started."""

    reason: str
    """CamelCase, for the condition."""
    message: str


@dataclass(frozen=True, slots=True)
class Observed:
    """All that is seen of one application's workload."""

    replicas: tuple[Replica, ...] = ()
    refusal: Refusal | None = None
    again_seconds: float | None = None
    """When there may be something to do without anything having changed; None: never."""
    leaving: bool = False
    """Besides replicas something of it is still there and on its way out."""

    @property
    def hopeless(self) -> bool:
        """A replica is tried again and again, in vain."""
        return any(replica.reason or replica.failures >= CRASH_LOOP_FAILURES for replica in self.replicas)

    def of(self, *states: ReplicaState) -> tuple[Replica, ...]:
        return tuple(replica for replica in self.replicas if replica.state in states)


@dataclass(frozen=True, slots=True)
class Workload:
    """What is wanted."""

    application: ArksApplication
    model: ModelFact | None
    """None: nothing may be started now, what runs goes on."""


class ReplicaVerb(StrEnum):
    """What people are told of a replica; the verbs of events."""

    STARTED = "replica-started"
    READY = "replica-ready"
    EXITED = "replica-exited"


@dataclass(frozen=True, slots=True)
class Change:
    """Something about a workload is not as it was."""

    namespace: str
    application: str
    replica: str = ""
    verb: ReplicaVerb | None = None
    """None: nothing that people need to be told."""
    reason: str = ""
    message: str = ""
    last_lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to run engines on."""

    cpus: int
    available_memory_bytes: int
    has_gpu: bool
    programs: frozenset[str]
    """Of the engines' programs those that are installed."""
