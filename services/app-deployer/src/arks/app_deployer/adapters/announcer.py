"""Facts and events of applications, on the bus."""

from typing import Protocol

from arks.app_deployer.domain.facts import ApplicationEvent, Status
from arks.app_deployer.domain.workload import ENGINE_ENDED, ENGINE_STUCK, Change, ObservedWorkload, ReplicaVerb
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication, Resource
from arks.events.v1.events_pb2 import ReplicaChange
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.facts import FactWriter
from arks.kit.key import Key
from arks.kit.outbox import EventPublisher
from arks.kit.resource_events import ResourceEvents

Application = ArksApplication | ArksDisaggregatedApplication
_NOTICE_WARNINGS = {"running": False, "failed": True, "scaled": False}
"""Verbs of events that are also shown on the resource itself, where its home can; whether as a warning."""
_ONCE = {"created", "deleted"}
"""Verbs that happen once in the life of an application: published again after a crash, they are deduplicated."""


class Notice(Protocol):
    """Adds a Kubernetes Event to the resource. Must not block."""

    def __call__(self, about: Resource, reason: str, message: str, *, warning: bool) -> None: ...


def no_notice(about: Resource, reason: str, message: str, *, warning: bool) -> None:
    """One machine has no Kubernetes Events."""


class BusAnnouncer:
    def __init__(self, bus: EventPublisher, facts: FactWriter[ReplicasFact], *, notice: Notice = no_notice) -> None:
        self._notice = notice
        self._events = ResourceEvents(bus)
        self._facts = facts

    def fact(self, key: Key, fact: ReplicasFact) -> None:
        self._facts.put(key, fact)

    def remove_fact(self, key: Key) -> None:
        self._facts.remove(key)

    def keep_fact(self, key: Key) -> None:
        self._facts.keep(key)

    def complete(self) -> None:
        self._facts.complete()

    def event(self, application: Application, status: Status | None, happened: ApplicationEvent) -> None:
        self._events.publish(
            application,
            happened.verb,
            reason=happened.reason,
            message=happened.message,
            phase=status.phase.value if status else "",
            once=happened.verb in _ONCE,
        )
        if happened.verb in _NOTICE_WARNINGS:
            self._notice(application, happened.reason, happened.message, warning=_NOTICE_WARNINGS[happened.verb])

    def replica_event(self, application: ArksApplication, change: Change, observed: ObservedWorkload) -> None:
        about = ReplicaChange(name=change.replica, last_lines=change.last_lines)
        replica = next((candidate for candidate in observed.replicas if candidate.name == change.replica), None)
        if replica is not None:
            about.host, about.port, about.state = replica.host, replica.port, replica.state.value
        verb = change.verb or ReplicaVerb.EXITED
        self._events.publish(application, verb.value, reason=change.reason, message=change.message, replica=about)
        if change.reason in {ENGINE_ENDED, ENGINE_STUCK}:
            self._notice(application, change.reason, change.message, warning=True)
