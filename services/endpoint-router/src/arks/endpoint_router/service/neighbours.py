"""The newest state from other services: applications with their replicas, and the load of each. No I/O.

A fact that vanishes while it had ready replicas is kept for a while. Its owner drains replicas before it removes the
fact, so it is far more likely that the bucket was lost. Envoy keeps its configuration until the owner has written all
facts again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from arks.contracts.facts import ReplicaState
from arks.endpoint_router.domain import Application, EndpointSpec, Loads, Pages, Report, applications_named
from arks.endpoint_router.domain.translate import application as as_application
from arks.endpoint_router.domain.translate import pages as as_pages
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.key import Key


@dataclass(frozen=True, slots=True)
class _Found:
    spec: EndpointSpec
    changes: int
    """How many there had been."""
    applications: Mapping[str, Application]


def _are_same(found: Mapping[str, Application], others: Mapping[str, Application]) -> bool:
    """Return whether they hold the same objects."""
    return len(found) == len(others) and all(others.get(name) is each for name, each in found.items())


class Neighbours:
    def __init__(self, hold_seconds: float) -> None:
        """`hold_seconds`: how long the ready replicas of a vanished fact are kept."""
        self._hold_seconds = hold_seconds
        self._applications: dict[str, dict[str, Application]] = {}
        """By namespace and name."""
        self._serving: dict[Key, set[str]] = {}
        """Namespace and served model -> names of applications."""
        self._loads: dict[str, dict[str, Loads]] = {}
        """By namespace and application."""
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
        self._endpoints_of: dict[Key, tuple[Key, ...]] = {}
        """Results of `endpoints_of` since the last change: reports come a thousand times as often as changes."""
        self._changes = 0
        """Counts changes of applications and endpoints."""
        self._found: dict[Key, _Found] = {}
        """Results of `applications_for`, by endpoint."""

    def applications(self, namespace: str) -> Mapping[str, Application]:
        return self._applications.get(namespace, {})

    def applications_for(self, endpoint: Key, spec: EndpointSpec) -> Mapping[str, Application]:
        """Return the applications that an endpoint may route to, by name. The mapping stays until one changes."""
        kept = self._found.get(endpoint)
        if kept is not None and kept.spec is spec and kept.changes == self._changes:
            return kept.applications
        known = self.applications(spec.namespace)
        names = self._serving.get(Key(spec.namespace, spec.model), set()) | applications_named(spec.routes)
        found: Mapping[str, Application] = {name: known[name] for name in names if name in known}
        if kept is not None and _are_same(found, kept.applications):
            found = kept.applications
        self._found[endpoint] = _Found(spec, self._changes, found)
        return found

    def loads(self, namespace: str) -> dict[str, Loads]:
        """Return what is known of the load of the applications in a namespace, by name. It changes with the reports."""
        return self._loads.get(namespace, {})

    def endpoints_of(self, application: Key) -> tuple[Key, ...]:
        """Return the endpoints that may route to it, sorted: that of its served model, and those that name it."""
        if (kept := self._endpoints_of.get(application)) is not None:
            return kept
        found = set(self._named_by.get(application, ()))
        known = self.applications(application.namespace).get(application.name)
        if known is None:
            return tuple(sorted(found))  # not kept: reports of any name may come
        found |= self._served_by.get(Key(application.namespace, known.served_model), set())
        self._endpoints_of[application] = kept = tuple(sorted(found))
        return kept

    def set_endpoint(self, endpoint: Key, spec: EndpointSpec | None) -> None:
        """Store the model of an endpoint and which applications it names; None if the endpoint is deleted."""
        self._note_change()
        if spec is None:
            self._found.pop(endpoint, None)
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
        self._applications.setdefault(key.namespace, {})[key.name] = changed
        self._set_served(key, known, changed)
        replicas = [(replica.id.name, replica.id.restarts, replica.port) for replica in changed.replicas]
        loads = self._loads.setdefault(key.namespace, {})
        loads[key.name] = loads.get(key.name, Loads()).of(replicas)
        return True

    def expired(self, now: float) -> list[Key]:
        """Return the applications whose fact vanished too long ago."""
        return [key for key, until in self._held.items() if now >= until]

    def forget(self, key: Key) -> None:
        self._held.pop(key, None)
        self._pages.pop(key, None)
        known = self._applications.get(key.namespace, {}).pop(key.name, None)
        self._set_served(key, known, None)
        self._loads.get(key.namespace, {}).pop(key.name, None)
        for of_namespaces in (self._applications, self._loads):
            if not of_namespaces.get(key.namespace):
                of_namespaces.pop(key.namespace, None)

    def _note_change(self) -> None:
        self._changes += 1
        self._endpoints_of.clear()

    def _set_served(self, key: Key, before: Application | None, after: Application | None) -> None:
        self._note_change()
        if before is not None:
            names = self._serving[Key(key.namespace, before.served_model)]
            names.discard(key.name)
            if not names:
                del self._serving[Key(key.namespace, before.served_model)]
        if after is not None:
            self._serving.setdefault(Key(key.namespace, after.served_model), set()).add(key.name)

    def pages_for(self, endpoint: Key, spec: EndpointSpec) -> list[Pages]:
        """Return what is known of the pages of the endpoint's applications, by name."""
        keys = (Key(spec.namespace, name) for name in sorted(self.applications_for(endpoint, spec)))
        return [self._pages[key] for key in keys if key in self._pages]

    def update_pages(self, key: Key, report: Report) -> bool:
        """Store what the engines' pages are. Returns whether that is new."""
        known = self._loads.get(key.namespace, {}).get(key.name)
        if known is None or known.has_pages_of(report):
            return False
        before, found = self._pages.get(key), as_pages(report)
        if found == before:
            return False
        self._pages[key] = found
        return before is not None or bool(found.versions)

    def update_load(self, key: Key, report: Report) -> Loads | None:
        """Store the newest load report of an application. Returns its load; None if nothing is new."""
        loads = self._loads.get(key.namespace, {})
        known = loads.get(key.name)
        after = known.after(report) if known is not None else None
        if after is not None:
            loads[key.name] = after
        return after
