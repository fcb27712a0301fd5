"""Why pods are not made or do not start, where only Kubernetes Events have the reason. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from arks.app_deployer.domain.pods import Pod, Trouble
from arks.kit.kube.event_reasons import WARNING, newest_of, reason_and_message
from arks.kit.telemetry import redact
from arks.kit.types import Json

QUIET_SECONDS = 2.0
"""Pods may be missing or wait so long before Kubernetes Events are queried."""
LOOK_SECONDS = 10.0
"""Between two queries."""
SILENT_SECONDS = 30.0
"""A set without any pod for so long, and without an event, has no controller that works."""
_NODE_EXPECTED = frozenset({"TriggeredScaleUp", "Nominated"})
"""Reasons with which cluster-autoscaler and Karpenter promise a node to a pod."""
_MAKERS = frozenset({"LeaderWorkerSet", "StatefulSet"})


@dataclass(frozen=True, slots=True)
class Findings:
    """What Kubernetes Events have about the pods of one group of replicas."""

    pods: Mapping[str, Trouble] = field(default_factory=dict)
    """Why a pod that has a node does not start, by uid."""
    node_expected: frozenset[str] = frozenset()
    """Uids of pods for which an autoscaler makes a node."""
    missing: Trouble | None = None
    """Why pods that are wanted do not exist."""
    missing_since: datetime | None = None
    """When a wanted pod was first missing; None: all exist."""


NOTHING = Findings()


@dataclass(frozen=True, slots=True)
class Expected:
    """Pods that a set or Deployment should have."""

    name: str
    """Of the set or Deployment."""
    replicas: int
    size: int = 1
    """Pods of a replica."""
    by_replica_sets: bool = False
    """A Deployment, whose ReplicaSets make the pods; their names begin with its own."""


def missing(expected: Expected, pods: Sequence[Pod]) -> list[str]:
    """Names of the objects that have not made all of their pods: the set itself, or leaders for their workers."""
    leaders = [pod for pod in pods if pod.leader]
    workers = [pod.leader_name for pod in pods if not pod.leader]
    lacking = [expected.name] if len(leaders) < expected.replicas else []
    lacking += [pod.name for pod in leaders if not pod.terminating and workers.count(pod.name) < expected.size - 1]
    return lacking


def needs_events(pod: Pod, now: datetime) -> bool:
    """Whether an event may have the reason why the pod waits, or that a node for it is on its way."""
    if pod.created_at is None or (now - pod.created_at).total_seconds() < QUIET_SECONDS:
        return False
    return pod.waits or (pod.unschedulable_since is not None and not pod.terminating)


def start_fault(events: Sequence[Json]) -> Trouble | None:
    """Why a pod does not start: its newest event, if that is a warning. Without one it starts."""
    return _fault(newest_of(events))


def creation_events(expected: Expected, lacking: Sequence[str]) -> list[str]:
    """Field selectors of the events of what makes the pods."""
    if expected.by_replica_sets:
        return ["involvedObject.kind=ReplicaSet"]
    return [f"involvedObject.name={name}" for name in lacking]


def creation_fault(events: Iterable[Json], expected: Expected, lacking: Collection[str]) -> Trouble | None:
    """Why pods are not made: the newest event of what makes them, if that is a warning."""
    return _fault(newest_of([event for event in events if _of_maker(event, expected, lacking)]))


def _of_maker(event: Json, expected: Expected, lacking: Collection[str]) -> bool:
    about = event.get("involvedObject", {})
    kind, name = about.get("kind"), str(about.get("name", ""))
    if expected.by_replica_sets:
        return kind == "ReplicaSet" and name.rpartition("-")[0] == expected.name
    return kind in _MAKERS and name in lacking


def silent_fault(expected: Expected, pods: Sequence[Pod], missing_seconds: float) -> Trouble | None:
    """A set of which nothing comes, not even an event."""
    if pods or expected.by_replica_sets or not expected.replicas or missing_seconds < SILENT_SECONDS:
        return None
    return Trouble(
        "NoPods",
        f"{expected.name} has no pods after {SILENT_SECONDS:.0f} s and no Kubernetes Event has the reason: "
        "see whether the controller of LeaderWorkerSet runs",
    )


def node_expected(events: Iterable[Json]) -> bool:
    return any(event.get("reason") in _NODE_EXPECTED for event in events)


def _fault(event: Json | None) -> Trouble | None:
    if event is None or event.get("type") != WARNING:
        return None
    reason, message = reason_and_message(event)
    return Trouble(reason or "Unknown", redact(message))
