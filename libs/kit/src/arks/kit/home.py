"""What a service gets from where it runs: resources, facts, secrets, NATS. Here: the interface and one machine."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from google.protobuf.message import Message
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from arks.contracts.resources import Resource
from arks.contracts.subjects import Facts
from arks.kit.bus import Bus
from arks.kit.cache import Cache
from arks.kit.clock import Clock, SystemClock
from arks.kit.facts import FactReader, FactWriter
from arks.kit.key import Key
from arks.kit.outbox import Outbox
from arks.kit.resources import LocalRecords, LocalResources
from arks.kit.secrets import LocalSecrets
from arks.kit.settings import Settings
from arks.kit.tracers import tracer_of
from arks.kit.tracing import Tracer
from arks.kit.types import AsyncCallable

if TYPE_CHECKING:
    from arks.kit.kube.home import KubeHome

R = TypeVar("R", bound=Resource)
R_co = TypeVar("R_co", bound=Resource, covariant=True)
M = TypeVar("M", bound=Message)
T = TypeVar("T")


class Resources(Protocol[R]):
    """Resources of one kind, with the same methods on one machine and on Kubernetes."""

    cache: Cache[R]

    async def patch_status(self, key: Key, status: BaseModel) -> None: ...
    async def add_finalizer(self, key: Key, finalizer: str) -> None: ...
    async def remove_finalizer(self, key: Key, finalizer: str) -> None: ...


class Records(Protocol[T]):
    """What a service keeps of each resource of one kind: see `Home.records`."""

    cache: Cache[T]

    async def patch_status(self, key: Key, status: BaseModel) -> None: ...


class Secrets(Protocol):
    """Reads secrets. Callers read a secret each time they need it and do not keep its values."""

    async def read(self, key: Key) -> Mapping[str, bytes] | None:
        """Return the values by name, or None if the secret does not exist. Raises Invalid if it cannot be used."""


class Home(Protocol):
    bus: Bus
    outbox: Outbox
    registry: CollectorRegistry
    clock: Clock
    settings: Settings
    tracer: Tracer

    @property
    def secrets(self) -> Secrets: ...
    @property
    def kube(self) -> "KubeHome | None":
        """API server, Kubernetes Events, election and watches of objects; None on one machine."""

    def resources(self, kind: type[R]) -> Resources[R]: ...
    def records(self, kind: type[R], keep: Callable[[R], T]) -> Records[T]:
        """Like `resources`, but the cache holds what `keep` makes of each resource. A whole resource takes 12 KB, so
        use it for kinds of which there may be 100,000.
        """

    def facts(self, bucket: Facts, message: type[M]) -> FactReader[M]: ...
    def fact_writer(self, bucket: Facts, message: type[M]) -> FactWriter[M]: ...
    async def start(self) -> None: ...
    def runs(self) -> list[AsyncCallable]: ...
    async def synced(self) -> None: ...
    async def leading(self) -> None:
        """Returns once this replica may reconcile: at once on one machine, when elected on Kubernetes."""

    async def stop(self) -> None: ...


class BusHome:
    """The parts that both homes share: NATS, facts, the outbox, and the list of background tasks."""

    def __init__(self, name: str, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.tracer = tracer_of(name, settings)
        self.registry = CollectorRegistry()
        self.bus = Bus(name, settings, self.registry)
        self.outbox = Outbox(name, self.bus, settings.outbox_messages, self.registry, self.clock)
        self._runs: list[AsyncCallable] = [self.outbox.run]
        self._caches: list[Cache[Any]] = []

    def facts(self, bucket: Facts, message: type[M]) -> FactReader[M]:
        reader = FactReader(self.bus, bucket, message)
        self._track(reader.cache, reader.run)
        return reader

    def fact_writer(self, bucket: Facts, message: type[M]) -> FactWriter[M]:  # chooses M
        writer: FactWriter[M] = FactWriter(self.bus, bucket, self.clock)
        self._runs.append(writer.run)
        return writer

    def runs(self) -> list[AsyncCallable]:
        return list(self._runs)

    async def synced(self) -> None:
        """Returns once every cache has its first complete list."""
        for cache in self._caches:
            await cache.synced.wait()

    def _track(self, cache: Cache[Any], run: AsyncCallable) -> None:
        self._caches.append(cache)
        self._runs.append(run)


class LocalHome(BusHome):
    """The home on one machine: resources and facts in NATS, secrets in the state directory."""

    def __init__(self, name: str, settings: Settings, clock: Clock | None = None) -> None:
        super().__init__(name, settings, clock)
        self.secrets = LocalSecrets(Path(settings.state_dir) / "secrets")
        self.kube = None

    def resources(self, kind: type[R]) -> Resources[R]:
        resources = LocalResources(self.bus, kind, self.clock)
        self._track(resources.cache, resources.run)
        return resources

    def records(self, kind: type[R], keep: Callable[[R], T]) -> Records[T]:
        records = LocalRecords(LocalResources(self.bus, kind, self.clock), keep)
        self._track(records.cache, records.run)
        return records

    async def start(self) -> None:
        await self.bus.start()

    async def leading(self) -> None:
        return

    async def stop(self) -> None:
        await self.outbox.flush()
        await self.bus.stop()
