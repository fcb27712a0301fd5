"""Which volumes are bound where their first pod runs, by their StorageClass."""

import dataclasses

import structlog

from arks.kit.clock import Clock
from arks.kit.errors import ArksError
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import Kind
from arks.model_manager.adapters.kubernetes.states import ObservedPvc

log = structlog.get_logger(__name__)
STORAGE_CLASS = Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False)
_KEEP_SECONDS = 600.0
_CLASSES = 256


class StorageClasses:
    def __init__(self, api: KubeApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._known: dict[str, tuple[float, bool]] = {}
        """Name -> (read at, whether volumes are bound at once)."""

    async def judge(self, pvc: ObservedPvc) -> ObservedPvc:
        """A pending PVC whose class binds at once does not wait for a pod. A class that cannot be read (a release for
        one namespace may not) counts as one that waits: a needless constraint only narrows the choice of nodes.
        """
        if pvc.phase != "Pending" or not pvc.by_first_pod or not pvc.storage_class:
            return pvc
        return dataclasses.replace(pvc, by_first_pod=not await self._is_immediate(pvc.storage_class))

    async def _is_immediate(self, name: str) -> bool:
        now = self._clock.monotonic()
        if name not in self._known or now - self._known[name][0] > _KEEP_SECONDS:
            if len(self._known) >= _CLASSES:
                self._known.clear()
            self._known[name] = now, await self._read(name)
        return self._known[name][1]

    async def _read(self, name: str) -> bool:
        try:
            found = await self._api.get(STORAGE_CLASS, Key("", name))
        except ArksError as error:
            log.info("StorageClass not read", storage_class=name, error=str(error))
            return False
        return found is not None and found.get("volumeBindingMode", "Immediate") == "Immediate"
