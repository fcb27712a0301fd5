"""The home on Kubernetes: resources and secrets from the API server, facts and events over NATS."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from arks.contracts.resources import Resource
from arks.kit.cache import Cache, Found
from arks.kit.clock import Clock
from arks.kit.errors import ArksError
from arks.kit.home import BusHome, Records, Resources
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.election import Election
from arks.kit.kube.events import KubeEventQueue, KubeEvents
from arks.kit.kube.informer import Informer
from arks.kit.kube.kinds import Kind
from arks.kit.kube.resources import KubeRecords, KubeResources
from arks.kit.kube.secrets import KubeSecrets
from arks.kit.kube.selected_namespaces import SelectedNamespaces
from arks.kit.kube.unreadable import UnreadableResources
from arks.kit.settings import Settings
from arks.kit.types import Json

R = TypeVar("R", bound=Resource)
T = TypeVar("T")


class KubeHome(BusHome):
    def __init__(
        self,
        name: str,
        settings: Settings,
        clock: Clock | None = None,
        kubeconfig: Path | None = None,
        *,
        leads: bool = True,
    ) -> None:
        super().__init__(name, settings, clock)
        self.api = KubeApi(f"arks-{name}", self.registry, kubeconfig, settings.kube_account_dir)
        if settings.watch_namespace_selector:
            namespaces = SelectedNamespaces(self.api, settings.watch_namespace_selector)
            self.api.namespaces = namespaces
            self._runs.append(namespaces.run)
        self.secrets = KubeSecrets(self.api)
        events = KubeEvents(self.api, f"arks-{name}", self.clock)
        identity = os.environ.get("HOSTNAME", f"arks-{os.getpid()}")
        self.election = Election(self.api, Key(settings.release_namespace, f"arks-{name}"), identity, self.clock)
        self.event_queue = KubeEventQueue(events, self.election.leading)
        """For Kubernetes Events on resources. The home runs it."""
        self._unreadable = UnreadableResources(self.api, events, self.election.leading, self.clock)
        if leads:
            self._runs += [self.election.run, self.event_queue.run, self._unreadable.run]

    @property
    def kube(self) -> "KubeHome":
        return self

    def resources(self, kind: type[R]) -> Resources[R]:
        resources = KubeResources(
            self.api, kind, self.settings.watch_namespace, on_unreadable=self._unreadable, clock=self.clock
        )
        self._track(resources.cache, resources.run)
        return resources

    def records(self, kind: type[R], keep: Callable[[R], T]) -> Records[T]:
        records = KubeRecords(
            self.api, kind, keep, self.settings.watch_namespace, on_unreadable=self._unreadable, clock=self.clock
        )
        self._track(records.cache, records.run)
        return records

    def watch(self, kind: Kind, read: Callable[[Json], Found[T]], labels: str) -> Cache[T]:
        """Return a cache of the objects that `labels` selects, as `read` returns them. The home watches them."""
        cache: Cache[T] = Cache()
        informer = Informer(self.api, kind, read, cache, namespace=self.settings.watch_namespace, labels=labels)
        self._track(cache, informer.run)
        return cache

    async def start(self) -> None:
        await self.api.start()
        await self.bus.start()

    async def leading(self) -> None:
        await self.election.leading.wait()

    async def stop(self) -> None:
        with contextlib.suppress(ArksError):
            await self.election.release()
        await self.outbox.flush()
        await self.bus.stop()
        await self.api.stop()
