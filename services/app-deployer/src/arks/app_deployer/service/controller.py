"""What both kinds of applications go through alike: taken up, kept, deleted, cleaned up after; and whose turn it is."""

from abc import ABC, abstractmethod
from typing import Any, Generic, Protocol, TypeVar

from arks.app_deployer.domain.facts import Happened
from arks.app_deployer.domain.status import ModelView
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.home import Resources
from arks.kit.reconcile import Key, Requeue

FINALIZER = "application.arks.ai/controller"

A = TypeVar("A", ArksApplication, ArksDisaggregatedApplication)


class ModelViews:
    """Models as applications see them: their facts, and for how long one has been missing."""

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


class Tells(Protocol):
    """The part of an announcer that is needed here."""

    def event(self, application: Any, status: Any, what: Happened) -> None: ...


class Deployer(ABC, Generic[A]):
    def __init__(self, applications: Resources[A], announcer: Tells) -> None:
        self._applications: Resources[A] = applications
        self._tells = announcer

    async def reconcile(self, key: Key) -> Requeue | None:
        application = self._applications.cache.get(key)
        if application is None:
            await self._clean_up(key)
            return None
        if application.metadata.deletion_timestamp is not None:
            await self._delete(key, application)
            return None
        return await self._keep(key, application)

    @abstractmethod
    async def _keep(self, key: Key, application: A) -> Requeue | None:
        """Make it as its spec wants it, and tell."""

    @abstractmethod
    async def _end(self, key: Key, application: A) -> bool:
        """Take the next steps to its end; True when nothing is left of it. Each change brings us here again."""

    @abstractmethod
    async def _clean_up(self, key: Key) -> None:
        """No such application: nothing may be left of it."""

    @abstractmethod
    def _running(self) -> set[Key]:
        """What there is, wanted or not."""

    async def _hold(self, key: Key, application: A) -> None:
        """It must not go before its engines have."""
        if FINALIZER not in application.metadata.finalizers:
            await self._applications.add_finalizer(key, FINALIZER)

    async def _delete(self, key: Key, application: A) -> None:
        if await self._end(key, application) and FINALIZER in application.metadata.finalizers:
            self._tells.event(application, None, Happened("deleted", "Deleted", "its engines have ended"))
            await self._applications.remove_finalizer(key, FINALIZER)

    # --- whose turn it is

    def users_of(self, model: Key) -> set[Key]:
        """Applications that serve the model."""
        return {
            key
            for key, application in self._applications.cache.items()
            if key.namespace == model.namespace and application.spec.model.name == model.name
        }

    def strays(self) -> set[Key]:
        """What runs and no resource wants."""
        return self._running() - {key for key, _ in self._applications.cache.items()}


def soonest(*waits: float | None) -> Requeue | None:
    """Seconds after which to look again, where anybody waits."""
    given = [seconds for seconds in waits if seconds is not None]
    return Requeue(max(0.0, min(given))) if given else None
