"""Base of both application controllers: create, keep, delete, clean up."""

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from arks.app_deployer.domain.facts import ApplicationEvent, Status
from arks.app_deployer.domain.status import ModelView
from arks.app_deployer.domain.workload import Change, ObservedWorkload
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication
from arks.events.v1.facts_pb2 import ModelFact, ReplicasFact
from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.home import Resources
from arks.kit.key import Key
from arks.kit.reconcile import Requeue

FINALIZER = "application.arks.ai/controller"

A = TypeVar("A", ArksApplication, ArksDisaggregatedApplication)


class ModelViews:
    """Facts of models, and for how long one has been missing."""

    def __init__(self, facts: Cache[ModelFact], clock: Clock) -> None:
        self._facts = facts
        self._clock = clock
        self._missing_since: dict[Key, float] = {}

    def of(self, application: Key, name: str) -> ModelView:
        model = Key(application.namespace, name)
        fact = self._facts.get(model)
        if fact is not None:
            self._missing_since.pop(model, None)
            return ModelView(fact)
        now = self._clock.monotonic()
        return ModelView(None, now - self._missing_since.setdefault(model, now))


Application = ArksApplication | ArksDisaggregatedApplication


class Announcer(Protocol):
    """Publishes events of applications and writes their facts."""

    def fact(self, key: Key, fact: ReplicasFact) -> None: ...
    def remove_fact(self, key: Key) -> None: ...
    def keep_fact(self, key: Key) -> None:
        """The fact stays as it was written, perhaps before a restart."""

    def complete(self) -> None:
        """All applications that exist have been announced."""

    def event(self, application: Application, status: Status | None, event: ApplicationEvent) -> None: ...
    def replica_event(self, application: ArksApplication, change: Change, observed: ObservedWorkload) -> None: ...


class BaseController(ABC, Generic[A]):
    def __init__(self, applications: Resources[A], announcer: Announcer) -> None:
        self._applications: Resources[A] = applications
        self._announcer = announcer

    async def reconcile(self, key: Key) -> Requeue | None:
        application = self._applications.cache.get(key)
        if application is None:
            await self._reconcile_without(key)
            return None
        if application.metadata.deletion_timestamp is not None:
            await self._delete(key, application)
            return None
        return await self._reconcile_existing(key, application)

    @abstractmethod
    async def _reconcile_existing(self, key: Key, application: A) -> Requeue | None:
        """Make the workload match the spec; write status and fact."""

    @abstractmethod
    async def _remove(self, key: Key, application: A) -> bool:
        """Take the next steps of the deletion; True when nothing remains. Each change calls it again."""

    @abstractmethod
    async def _clean_up(self, key: Key) -> bool:
        """Remove what remains of an application that does not exist; True when nothing remains."""

    @abstractmethod
    def _existing_keys(self) -> set[Key]:
        """Keys of all that runs, orphans included."""

    async def _reconcile_without(self, key: Key) -> None:
        """An application that exists and cannot be read keeps its engines and its fact: only a deletion ends them."""
        unreadable = self._applications.cache.unreadable(key)
        if unreadable is not None and not unreadable.deleting:
            self._announcer.keep_fact(key)
        elif await self._clean_up(key) and unreadable is not None:
            await self._applications.remove_finalizer(key, FINALIZER)

    async def _ensure_finalizer(self, key: Key, application: A) -> None:
        """Add the finalizer, so that engines end first."""
        if FINALIZER not in application.metadata.finalizers:
            await self._applications.add_finalizer(key, FINALIZER)

    async def _delete(self, key: Key, application: A) -> None:
        if await self._remove(key, application) and FINALIZER in application.metadata.finalizers:
            self._announcer.event(
                application, None, ApplicationEvent("deleted", "Deleted", "All replicas stopped; application deleted")
            )
            await self._applications.remove_finalizer(key, FINALIZER)

    # --- keys to reconcile

    def users_of(self, model: Key) -> set[Key]:
        """Applications that serve the model."""
        return {
            key
            for key, application in self._applications.cache.items()
            if key.namespace == model.namespace and application.spec.model.name == model.name
        }

    def orphans(self) -> set[Key]:
        """Keys of what runs without a resource."""
        return self._existing_keys() - self._applications.cache.existing()

    def all_keys(self) -> set[Key]:
        """Applications that exist, and orphans: their reconcile removes them."""
        return self._applications.cache.existing() | self.orphans()


def soonest(*waits: float | None) -> Requeue | None:
    """Requeue after the shortest of the waits; None without any."""
    given = [seconds for seconds in waits if seconds is not None]
    return Requeue(max(0.0, min(given))) if given else None
