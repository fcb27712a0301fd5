"""Facts and events of applications, on the bus."""

from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from arks.app_deployer.domain.facts import ApplicationEvent, Status
from arks.app_deployer.domain.workload import ENGINE_ENDED, Change, ObservedWorkload, ReplicaVerb
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication, Resource
from arks.contracts.subjects import EventKind
from arks.events.v1.events_pb2 import ReplicaChange, ResourceEvent
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.clock import Clock
from arks.kit.facts import FactWriter
from arks.kit.key import Key
from arks.kit.outbox import EventPublisher

Application = ArksApplication | ArksDisaggregatedApplication
_NOTICE_WARNINGS = {"running": False, "failed": True, "scaled": False}
"""Verbs of events that are also shown on the resource itself, where its home can; whether as a warning."""


class Notice(Protocol):
    """Adds a Kubernetes Event to the resource. Must not block."""

    def __call__(self, resource: Resource, reason: str, message: str, *, warning: bool) -> None: ...


def no_notice(resource: Resource, reason: str, message: str, *, warning: bool) -> None:
    """One machine has no Kubernetes Events."""


class BusAnnouncer:
    def __init__(
        self, bus: EventPublisher, facts: FactWriter[ReplicasFact], clock: Clock, *, notice: Notice = no_notice
    ) -> None:
        self._notice = notice
        self._bus = bus
        self._facts = facts
        self._clock = clock

    def fact(self, key: Key, fact: ReplicasFact) -> None:
        """Write the fact if anything but its time has changed; `updated_at` is the time of the last change."""
        before = self._facts.get(key)
        stamp = Timestamp()
        stamp.FromDatetime(self._clock.now())
        if before is not None:
            fact.updated_at.CopyFrom(before.updated_at)
            if fact == before:
                return
        fact.updated_at.CopyFrom(stamp)
        self._facts.put(key, fact)

    def remove_fact(self, key: Key) -> None:
        self._facts.remove(key)

    def complete(self) -> None:
        self._facts.complete()

    def event(self, application: Application, status: Status | None, happened: ApplicationEvent) -> None:
        event = _event_about(application)
        event.phase = status.phase.value if status else ""
        event.reason, event.message = happened.reason, happened.message
        once = {"created", "deleted"}  # deduplicated: published again after a crash
        event_id = f"{application.metadata.uid}-{happened.verb}" if happened.verb in once else None
        self._bus.publish_event(EventKind.APPLICATION, happened.verb, _key(application), event, event_id)
        if happened.verb in _NOTICE_WARNINGS:
            self._notice(application, happened.reason, happened.message, warning=_NOTICE_WARNINGS[happened.verb])

    def replica_event(self, application: ArksApplication, change: Change, observed: ObservedWorkload) -> None:
        event = _event_about(application)
        event.reason, event.message = change.reason, change.message
        replica = next((candidate for candidate in observed.replicas if candidate.name == change.replica), None)
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


def _event_about(application: Application) -> ResourceEvent:
    return ResourceEvent(
        kind=application.kind,
        namespace=application.namespace,
        name=application.name,
        generation=application.metadata.generation or 0,
    )


def _key(application: Application) -> Key:
    return Key(application.namespace, application.name)
