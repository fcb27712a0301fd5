"""Facts and events of applications, on the bus."""

from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from arks.app_deployer.domain.facts import Happened, Status
from arks.app_deployer.domain.workload import ENGINE_ENDED, Change, Observed, ReplicaVerb
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication
from arks.contracts.resources.meta import Resource
from arks.contracts.subjects import EventKind
from arks.events.v1.events_pb2 import ReplicaChange, ResourceEvent
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.bus import Bus
from arks.kit.clock import Clock
from arks.kit.facts import FactWriter
from arks.kit.reconcile import Key

Application = ArksApplication | ArksDisaggregatedApplication
_WORTH_A_NOTICE = {"running": False, "failed": True, "scaled": False}
"""Verbs of events that are also shown on the resource itself, where its home can; whether as a warning."""


class Notice(Protocol):
    """Shows something on the resource itself. Must not block."""

    def __call__(self, about: Resource, reason: str, message: str, *, warning: bool) -> None: ...


def no_notice(about: Resource, reason: str, message: str, *, warning: bool) -> None:
    """Resources of one machine have no events of their own."""


class BusAnnouncer:
    def __init__(self, bus: Bus, facts: FactWriter[ReplicasFact], clock: Clock, *, notice: Notice = no_notice) -> None:
        self._notice = notice
        self._bus = bus
        self._facts = facts
        self._clock = clock

    def fact(self, key: Key, fact: ReplicasFact) -> None:
        """Its time says when it last changed, so an unchanged one keeps its time and is not written again."""
        before = self._facts.get(key)
        stamp = Timestamp()
        stamp.FromDatetime(self._clock.now())
        if before is not None:
            fact.updated_at.CopyFrom(before.updated_at)
            if fact == before:
                return
        fact.updated_at.CopyFrom(stamp)
        self._facts.put(key, fact)

    def fact_gone(self, key: Key) -> None:
        self._facts.remove(key)

    def complete(self) -> None:
        self._facts.complete()

    def event(self, application: Application, status: Status | None, what: Happened) -> None:
        event = _about(application)
        event.phase = status.phase.value if status else ""
        event.reason, event.message = what.reason, what.message
        once = {"created", "deleted"}  # told again after a crash, it is still one event
        event_id = f"{application.metadata.uid}-{what.verb}" if what.verb in once else None
        self._bus.publish_event(EventKind.APPLICATION, what.verb, _key(application), event, event_id)
        if what.verb in _WORTH_A_NOTICE:
            self._notice(application, what.reason, what.message, warning=_WORTH_A_NOTICE[what.verb])

    def replica_event(self, application: ArksApplication, change: Change, observed: Observed) -> None:
        event = _about(application)
        event.reason, event.message = change.reason, change.message
        replica = next((one for one in observed.replicas if one.name == change.replica), None)
        event.replica.CopyFrom(ReplicaChange(name=change.replica, last_lines=change.last_lines))
        if replica is not None:
            event.replica.host, event.replica.port, event.replica.state = (
                replica.host,
                replica.port,
                replica.state.value,
            )
        verb = change.verb or ReplicaVerb.EXITED
        self._bus.publish_event(EventKind.APPLICATION, verb.value, _key(application), event)
        if change.reason == ENGINE_ENDED:
            self._notice(application, change.reason, change.message, warning=True)


def _about(application: Application) -> ResourceEvent:
    return ResourceEvent(
        kind=application.kind,
        namespace=application.namespace,
        name=application.name,
        generation=application.metadata.generation or 0,
    )


def _key(application: Application) -> Key:
    return Key(application.namespace, application.name)
