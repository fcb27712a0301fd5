"""The namespaces that a label selector selects, as their labels change.

All informers of a program get the objects of a new namespace in one step, and lose those of a dropped one in one step.
Otherwise a controller would see children without their owner for a moment, and delete them.
"""

import asyncio

import structlog

from arks.kit.backoff import Backoff
from arks.kit.cache import Cache
from arks.kit.errors import ArksError, Unavailable
from arks.kit.kube.api import KubeApi
from arks.kit.kube.informer import Informer
from arks.kit.kube.kinds import NAMESPACE
from arks.kit.kube.namespaces import Member
from arks.kit.types import Json

log = structlog.get_logger(__name__)


class SelectedNamespaces:
    """Current while `run` runs. `selector`: as the API server reads it: `team=a,stage in (test,live),!hidden`."""

    def __init__(self, api: KubeApi, selector: str) -> None:
        self.cache: Cache[bool] = Cache()
        """The selected namespaces, as keys without a namespace; those that are not served yet too."""
        self.changes = 0
        self._served: dict[str, int] = {}
        """By namespace: the number of the change with which it joined."""
        self._members: list[Member] = []
        self._known = asyncio.Event()
        self._wanted = asyncio.Event()
        self._backoff = Backoff(first_seconds=0.1, longest_seconds=5.0)
        self._informer = Informer(api, NAMESPACE, _is_there, self.cache, labels=selector)
        self.cache.subscribe(lambda key: self._wanted.set())

    def serves(self, namespace: str) -> bool:
        return namespace in self._served

    def joined_after(self, namespace: str, changes: int) -> bool:
        return self._served.get(namespace, changes) > changes

    def add(self, member: Member) -> None:
        self._members.append(member)

    async def known(self) -> None:
        await self._known.wait()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._informer.run())
            tasks.create_task(self._follow())

    async def _follow(self) -> None:
        await self.cache.synced.wait()
        self._served = dict.fromkeys(self._selected(), 0)
        self._known.set()
        failures = 0
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._change()
                failures = 0
            except ArksError as error:
                failures += 1
                log.warning("namespace not served yet", error=str(error))
                await asyncio.sleep(self._backoff.delay_seconds(failures))
                self._wanted.set()

    def _selected(self) -> set[str]:
        return {key.name for key in self.cache.existing()}

    async def _change(self) -> None:
        for namespace in self._served.keys() - self._selected():
            self._end(namespace)
        for namespace in sorted(self._selected() - self._served.keys()):
            try:
                await self._join(namespace)
            finally:
                if namespace not in self._served:
                    self._drop(namespace)

    def _end(self, namespace: str) -> None:
        log.info("namespace no longer served", namespace=namespace)
        del self._served[namespace]
        self.changes += 1
        self._drop(namespace)

    def _drop(self, namespace: str) -> None:
        for member in self._members:
            member.drop(namespace)

    async def _join(self, namespace: str) -> None:
        """Raises ArksError; the namespace is not served then."""
        for member in self._members:
            member.gather(namespace)
        listed = [(member, await member.fetch(namespace)) for member in self._members]
        if not all(member.is_complete(namespace) for member in self._members):
            raise Unavailable(f"{namespace}: a watch broke while its objects were listed")
        if namespace not in self._selected():
            return
        log.info("namespace served", namespace=namespace)
        self.changes += 1
        self._served[namespace] = self.changes
        for member, objects in listed:
            member.admit(namespace, objects)


def _is_there(obj: Json) -> bool:
    return True
