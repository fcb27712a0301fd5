"""Deletes pods of stuck engines; their set makes them anew.

A liveness probe would need a program inside the images of engines, and each would have to read its own page. Deletion
takes the pod out of the Service and the routing at once. Its grace period is short, because a stuck engine would wait
for the end of its requests for as long as the pod allows.
"""

import asyncio

import structlog

from arks.kit.errors import ArksError
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import Kind

log = structlog.get_logger(__name__)

POD = Kind("", "v1", "Pod", "pods")
GRACE_SECONDS = 10
_MOST = 64
"""Deletions that wait; further ones are dropped, because they are reported again."""


class StuckPods:
    """Deletes one pod at a time while `run` runs."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._due: asyncio.Queue[tuple[Key, str]] = asyncio.Queue(_MOST)
        self._known: set[str] = set()

    def delete(self, pod: Key, uid: str) -> bool:
        """Returns whether it will be deleted now, and not already."""
        if uid in self._known or self._due.full():
            return False
        self._known.add(uid)
        self._due.put_nowait((pod, uid))
        return True

    async def run(self) -> None:
        while True:
            pod, uid = await self._due.get()
            try:
                await self._api.delete(POD, pod, GRACE_SECONDS, uid)
            except ArksError as error:  # the next report tries again
                log.warning("the pod of a stuck engine could not be deleted", pod=str(pod), error=str(error))
            finally:
                self._known.discard(uid)
