"""What the neighbours said last: applications with their replicas, and how loaded these are. No I/O.

A fact that vanishes while it had ready replicas is not believed at once. Its owner takes replicas out of service before
it takes the fact away, so it is far more likely that the bucket was lost, and Envoy goes on with what it has until the
owner has said everything again.
"""

from collections.abc import Mapping

from arks.endpoint_router.domain import (
    Application,
    EndpointSpec,
    ReplicaId,
    Signals,
    State,
    applications_named,
    observe,
)
from arks.endpoint_router.domain.translate import application as as_application
from arks.endpoint_router.domain.translate import reading as as_reading
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.reconcile import Key


class Neighbours:
    def __init__(self, hold_seconds: float) -> None:
        self._hold_seconds = hold_seconds
        self._applications: dict[str, dict[str, Application]] = {}
        self._signals: dict[str, dict[ReplicaId, Signals]] = {}
        self._reported_at: dict[Key, float] = {}
        """When the newest load report of an application was made."""
        self._held: dict[Key, float] = {}
        """Applications whose fact vanished, and until when they are believed in."""
        self._named_by: dict[Key, set[Key]] = {}
        """Application -> endpoints whose static entries name it."""
        self._names: dict[Key, frozenset[str]] = {}
        """Endpoint -> applications that its static entries name."""

    def applications(self, namespace: str) -> Mapping[str, Application]:
        return self._applications.get(namespace, {})

    def signals(self, namespace: str) -> Mapping[ReplicaId, Signals]:
        return self._signals.get(namespace, {})

    def users(self, application: Key) -> set[Key]:
        """Endpoints that it may be routed by: the one with its served model's name, and those that name it."""
        found = set(self._named_by.get(application, ()))
        known = self.applications(application.namespace).get(application.name)
        if known is not None:
            found.add(Key(application.namespace, known.served_model))
        return found

    def names(self, endpoint: Key, spec: EndpointSpec | None) -> None:
        """Remember which applications an endpoint names; None when it is gone."""
        for name in self._names.pop(endpoint, frozenset()):
            users = self._named_by[Key(endpoint.namespace, name)]
            users.discard(endpoint)
            if not users:
                del self._named_by[Key(endpoint.namespace, name)]
        named = applications_named(spec.routes) if spec is not None else frozenset()
        if named:
            self._names[endpoint] = named
        for name in named:
            self._named_by.setdefault(Key(endpoint.namespace, name), set()).add(endpoint)

    def take_replicas(self, key: Key, fact: ReplicasFact | None, now: float) -> bool:
        """True when something changed."""
        known = self.applications(key.namespace).get(key.name)
        if fact is None:
            if known is not None and any(one.state is State.READY for one in known.replicas):
                self._held[key] = now + self._hold_seconds
                return False
            self.forget(key)
            return known is not None
        self._held.pop(key, None)
        changed = as_application(fact)
        if changed == known:
            return False
        self._applications.setdefault(key.namespace, {})[key.name] = changed
        self._drop_signals(known, changed, key.namespace)
        return True

    def give_up(self, now: float) -> list[Key]:
        """Applications whose fact vanished too long ago."""
        return [key for key, until in self._held.items() if now >= until]

    def forget(self, key: Key) -> None:
        self._held.pop(key, None)
        self._reported_at.pop(key, None)
        known = self._applications.get(key.namespace, {}).pop(key.name, None)
        self._drop_signals(known, None, key.namespace)
        if not self._applications.get(key.namespace):
            self._applications.pop(key.namespace, None)
            self._signals.pop(key.namespace, None)

    def take_load(self, key: Key, report: LoadReport) -> bool:
        """Newest report wins. False when it says nothing new about replicas that we know."""
        known = self.applications(key.namespace).get(key.name)
        if known is None:
            return False
        made_at = report.measured_at.seconds + report.measured_at.nanos / 1e9
        if made_at < self._reported_at.get(key, 0.0):
            return False
        self._reported_at[key] = made_at
        signals = self._signals.setdefault(key.namespace, {})
        loads = {load.name: load for load in report.replicas}
        news = False
        for replica in known.replicas:
            load = loads.get(replica.id.name)
            if load is None or (load.port and load.port != replica.port):
                continue  # nothing said, or said of the process that had this name before
            reading, before = as_reading(load, report.measured_at), signals.get(replica.id)
            if before is None or reading != before.reading:
                signals[replica.id] = observe(before, reading)
                news = True
        return news

    def _drop_signals(self, before: Application | None, after: Application | None, namespace: str) -> None:
        """Of replicas that are gone, or that started again since."""
        signals = self._signals.get(namespace, {})
        left = {one.id for one in after.replicas} if after is not None else set()
        for replica in before.replicas if before is not None else ():
            if replica.id not in left:
                signals.pop(replica.id, None)
