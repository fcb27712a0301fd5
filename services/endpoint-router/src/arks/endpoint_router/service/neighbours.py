"""The newest state from other services: applications with their replicas, and the load of each. No I/O.

A fact that vanishes while it had ready replicas is kept for a while. Its owner drains replicas before it removes the
fact, so it is far more likely that the bucket was lost. Envoy keeps its configuration until the owner has written all
facts again.
"""

from collections.abc import Collection, Mapping
from enum import Enum, auto

from msgspec.structs import replace

from arks.contracts.facts import ReplicaState
from arks.endpoint_router.domain import (
    Application,
    EndpointSpec,
    Pages,
    ReplicaId,
    Signals,
    applications_named,
    observe,
)
from arks.endpoint_router.domain.translate import application as as_application
from arks.endpoint_router.domain.translate import pages as as_pages
from arks.endpoint_router.domain.translate import reading as as_reading
from arks.endpoint_router.service.quiet import Quiet
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.key import Key


class Novelty(Enum):
    """What a load report changes."""

    NOTHING = auto()
    TIMES = auto()
    """The readings are fresh, and as before: the replicas have had nothing to do for a while."""
    LOAD = auto()


class Neighbours:
    def __init__(self, hold_seconds: float) -> None:
        """`hold_seconds`: how long the ready replicas of a vanished fact are kept."""
        self._hold_seconds = hold_seconds
        self._applications: dict[str, dict[str, Application]] = {}
        """By namespace and name."""
        self._serving: dict[Key, set[str]] = {}
        """Namespace and served model -> names of applications."""
        self._quiet: dict[Key, Quiet] = {}
        self._signals: dict[Key, dict[ReplicaId, Signals]] = {}
        """By application and replica."""
        self._reported_at: dict[Key, float] = {}
        """Application -> time of its newest load report, in seconds since the epoch."""
        self._pages: dict[Key, Pages] = {}
        """Application -> what its engines' pages are."""
        self._held: dict[Key, float] = {}
        """Application whose fact vanished -> until when it is kept (monotonic seconds)."""
        self._named_by: dict[Key, set[Key]] = {}
        """Application -> endpoints whose static entries name it."""
        self._named: dict[Key, frozenset[str]] = {}
        """Endpoint -> applications that its static entries name."""
        self._models: dict[Key, str] = {}
        """Endpoint -> public model name."""
        self._served_by: dict[Key, set[Key]] = {}
        """Namespace and public model name -> endpoints."""

    def applications(self, namespace: str) -> Mapping[str, Application]:
        return self._applications.get(namespace, {})

    def applications_for(self, spec: EndpointSpec) -> Mapping[str, Application]:
        """Return the applications that an endpoint may route to, with their signals up to date."""
        known = self.applications(spec.namespace)
        names = self._serving.get(Key(spec.namespace, spec.model), set()) | applications_named(spec.routes)
        found = {name: known[name] for name in names if name in known}
        for name in found:
            self._settle(Key(spec.namespace, name))
        return found

    def signals(self, namespace: str, applications: Collection[str]) -> Mapping[ReplicaId, Signals]:
        """Return the signals of these applications."""
        if len(applications) == 1:
            return self._signals.get(Key(namespace, *applications), {})
        known = (self._signals.get(Key(namespace, name), {}) for name in applications)
        return {id_: signals for each in known for id_, signals in each.items()}

    def endpoints_of(self, application: Key) -> set[Key]:
        """Return the endpoints that may route to it: that of its served model, and those that name it."""
        found = set(self._named_by.get(application, ()))
        known = self.applications(application.namespace).get(application.name)
        if known is not None:
            found |= self._served_by.get(Key(application.namespace, known.served_model), set())
        return found

    def set_endpoint(self, endpoint: Key, spec: EndpointSpec | None) -> None:
        """Store the model of an endpoint and which applications it names; None if the endpoint is deleted."""
        before = self._models.pop(endpoint, None)
        if before is not None:
            self._served_by[Key(endpoint.namespace, before)].discard(endpoint)
            if not self._served_by[Key(endpoint.namespace, before)]:
                del self._served_by[Key(endpoint.namespace, before)]
        if spec is not None:
            self._models[endpoint] = spec.model
            self._served_by.setdefault(Key(endpoint.namespace, spec.model), set()).add(endpoint)
        self._set_named(endpoint, spec)

    def _set_named(self, endpoint: Key, spec: EndpointSpec | None) -> None:
        for name in self._named.pop(endpoint, frozenset()):
            endpoints = self._named_by[Key(endpoint.namespace, name)]
            endpoints.discard(endpoint)
            if not endpoints:
                del self._named_by[Key(endpoint.namespace, name)]
        named = applications_named(spec.routes) if spec is not None else frozenset()
        if named:
            self._named[endpoint] = named
        for name in named:
            self._named_by.setdefault(Key(endpoint.namespace, name), set()).add(endpoint)

    def update_replicas(self, key: Key, fact: ReplicasFact | None, now: float) -> bool:
        """Store an application's fact; None if it vanished. Returns whether anything changed."""
        known = self.applications(key.namespace).get(key.name)
        if fact is None:
            if known is not None and any(replica.state is ReplicaState.READY for replica in known.replicas):
                self._held[key] = now + self._hold_seconds
                return False
            self.forget(key)
            return known is not None
        self._held.pop(key, None)
        changed = as_application(fact)
        if changed == known:
            return False
        self._quiet.pop(key, None)
        self._applications.setdefault(key.namespace, {})[key.name] = changed
        self._set_served(key, known, changed)
        self._drop_signals(key, changed)
        return True

    def expired(self, now: float) -> list[Key]:
        """Return the applications whose fact vanished too long ago."""
        return [key for key, until in self._held.items() if now >= until]

    def forget(self, key: Key) -> None:
        self._held.pop(key, None)
        self._reported_at.pop(key, None)
        self._pages.pop(key, None)
        known = self._applications.get(key.namespace, {}).pop(key.name, None)
        self._quiet.pop(key, None)
        self._set_served(key, known, None)
        self._signals.pop(key, None)
        if not self._applications.get(key.namespace):
            self._applications.pop(key.namespace, None)

    def _set_served(self, key: Key, before: Application | None, after: Application | None) -> None:
        if before is not None:
            names = self._serving[Key(key.namespace, before.served_model)]
            names.discard(key.name)
            if not names:
                del self._serving[Key(key.namespace, before.served_model)]
        if after is not None:
            self._serving.setdefault(Key(key.namespace, after.served_model), set()).add(key.name)

    def pages_for(self, spec: EndpointSpec) -> list[Pages]:
        """Return what is known of the pages of the endpoint's applications, by name."""
        keys = (Key(spec.namespace, name) for name in sorted(self.applications_for(spec)))
        return [self._pages[key] for key in keys if key in self._pages]

    def update_pages(self, key: Key, report: LoadReport) -> bool:
        """Store what the engines' pages are. Returns whether that is new."""
        if key.name not in self.applications(key.namespace):
            return False
        before, found = self._pages.get(key), as_pages(report)
        if found == before:
            return False
        self._pages[key] = found
        return before is not None or bool(found.versions)

    def update_load(self, key: Key, report: LoadReport) -> Novelty:
        """Store the newest load report of an application."""
        known = self.applications(key.namespace).get(key.name)
        if known is None:
            return Novelty.NOTHING
        at = report.measured_at
        measured_at = at.seconds + at.nanos / 1e9
        if measured_at < self._reported_at.get(key, 0.0):
            return Novelty.NOTHING
        self._reported_at[key] = measured_at
        if self._quiet.setdefault(key, Quiet()).take(report):
            return Novelty.TIMES
        self._settle(key)
        signals = self._signals.setdefault(key, {})
        loads = {load.name: load for load in report.replicas}
        changed = False
        for replica in known.replicas:
            load = loads.get(replica.id.name)
            if load is None or (load.port and load.port != replica.port):
                continue  # not in the report, or measured at the process that had this name before
            reading, before = as_reading(load, at), signals.get(replica.id)
            if before is None or reading != before.reading:
                signals[replica.id] = observe(before, reading)
                changed = True
        return Novelty.LOAD if changed else Novelty.NOTHING

    def _settle(self, key: Key) -> None:
        """Make readings of the times that reports have confirmed."""
        quiet = self._quiet.get(key)
        if quiet is None or quiet.newest is None:
            return
        signals, times = self._signals[key], quiet.settle()
        for replica in self._applications[key.namespace][key.name].replicas:
            before, at = signals.get(replica.id), times.get(replica.id.name)
            if before is not None and at is not None:
                signals[replica.id] = observe(before, replace(before.reading, measured_at=at))

    def _drop_signals(self, key: Key, after: Application) -> None:
        """Drop signals of replicas that vanished or restarted."""
        if (known := self._signals.get(key)) is not None:
            remaining = {replica.id for replica in after.replicas}
            self._signals[key] = {id_: signals for id_, signals in known.items() if id_ in remaining}
