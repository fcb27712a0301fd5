"""Names that a LeaderWorkerSet needs besides its own, checked before it is written.

Its controller makes a StatefulSet of the set's name, one of the name of each leader pod for workers, and a Service by
which workers find their leader. It takes over StatefulSets of these names by force, also of other owners, and uses the
Service as it is (seen in v0.7). So two applications `a` (of several nodes) and `a-0` would fight for pods.
"""

import asyncio
import re

from arks.app_deployer.adapters.kubernetes.children import LEADER_WORKER_SET, SERVICE
from arks.kit.key import Key
from arks.kit.kube import ownership
from arks.kit.kube.api import KubeApi, key_of_object
from arks.kit.kube.kinds import POD, Kind
from arks.kit.types import Json

STATEFUL_SET = Kind("apps", "v1", "StatefulSet", "statefulsets")


class SetNames:
    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def check(self, desired: Json) -> None:
        """Raises ArksError: NameConflict if an object that the controller of the set did not make has such a name."""
        key, size = key_of_object(desired), desired["spec"]["leaderWorkerTemplate"]["size"]
        (stateful_sets, _), service = await asyncio.gather(
            self._api.list(STATEFUL_SET, key.namespace), self._api.get(SERVICE, key)
        )
        resource = ownership.controller_of(desired) or {}
        own_set = {"apiVersion": LEADER_WORKER_SET.api_version, "kind": LEADER_WORKER_SET.kind, "name": key.name}
        if service is not None and size > 1:
            ownership.check(SERVICE, service, own_set, resource)
        for found in stateful_sets:
            if (maker := _maker(found["metadata"]["name"], key, size, own_set)) is not None:
                ownership.check(STATEFUL_SET, found, maker, resource)


def _maker(name: str, key: Key, size: int, own_set: Json) -> Json | None:
    """What would own a StatefulSet of this name; None if the set makes none."""
    if name == key.name:
        return own_set
    if size > 1 and re.fullmatch(re.escape(key.name) + r"-\d+", name):
        return {"apiVersion": POD.api_version, "kind": POD.kind, "name": name}
    return None
