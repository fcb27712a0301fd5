"""A service's home on Kubernetes: resources and secrets at the API server, facts and events over NATS as everywhere."""

import contextlib
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import Message
from prometheus_client import CollectorRegistry

from arks.contracts.resources.meta import Resource
from arks.contracts.subjects import Facts
from arks.kit.bus import Bus
from arks.kit.clock import Clock, SystemClock
from arks.kit.errors import ArksError
from arks.kit.facts import FactReader, FactWriter
from arks.kit.home import Resources, Run
from arks.kit.kube.api import KubeApi
from arks.kit.kube.election import Election
from arks.kit.kube.events import KubeEvents
from arks.kit.kube.resources import KubeResources
from arks.kit.kube.secrets import KubeSecrets
from arks.kit.reconcile import Key
from arks.kit.settings import Settings

R = TypeVar("R", bound=Resource)
M = TypeVar("M", bound=Message)


class KubeHome:
    def __init__(self, name: str, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.registry = CollectorRegistry()
        self.bus = Bus(name, settings, self.registry, self.clock)
        self.api = KubeApi(f"arks-{name}", self.registry)
        self.secrets = KubeSecrets(self.api)
        self.events = KubeEvents(self.api, f"arks-{name}", self.clock)
        identity = os.environ.get("HOSTNAME", f"arks-{os.getpid()}")
        self.election = Election(self.api, Key(settings.release_namespace, f"arks-{name}"), identity, self.clock)
        self._runs: list[Run] = [self.bus.run, self.election.run]
        self._synced: list[Callable[[], Awaitable[object]]] = []

    def resources(self, kind: type[R]) -> Resources[R]:
        resources = KubeResources(self.api, kind, self.settings.watch_namespace)
        self._runs.append(resources.run)
        self._synced.append(resources.cache.synced.wait)
        return resources

    def facts(self, bucket: Facts, message: type[M]) -> FactReader[M]:
        reader = FactReader(self.bus, bucket, message)
        self._runs.append(reader.run)
        self._synced.append(reader.cache.synced.wait)
        return reader

    def fact_writer(self, bucket: Facts, message: type[M]) -> FactWriter[M]:
        writer = FactWriter(self.bus, bucket, message)
        self._runs.append(writer.run)
        return writer

    async def start(self) -> None:
        await self.api.start()
        await self.bus.start()

    def runs(self) -> list[Run]:
        return list(self._runs)

    async def synced(self) -> None:
        for wait in self._synced:
            await wait()

    async def leading(self) -> None:
        await self.election.leading.wait()

    async def stop(self) -> None:
        with contextlib.suppress(ArksError):
            await self.election.release()
        await self.bus.stop()
        await self.api.stop()
