"""Objects that app-deployer creates for applications: watched, and written only if they differ from the spec.

They differ if the spec would now make them differently (the digest in an annotation), or if another writer has changed
a field of ours (the object's managed fields). Both are in the object, so a restarted app-deployer repairs what changed
meanwhile, and writes nothing if nothing did.
"""

import json
from collections.abc import Awaitable, Callable

from arks.app_deployer.adapters.kubernetes.child import Child, describe, read_child, same_content
from arks.app_deployer.domain.launch.manifests import APPLIED
from arks.app_deployer.domain.repairs import Repairs
from arks.contracts.names import APPLICATION_LABEL
from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.kit.kube import ownership
from arks.kit.kube.api import KubeApi, key_of_object
from arks.kit.kube.informer import Informer
from arks.kit.kube.kinds import Kind
from arks.kit.kube.managed_fields import LostField, fields_of_others, lost_fields, our_fields
from arks.kit.types import Json

LEADER_WORKER_SET = Kind("leaderworkerset.x-k8s.io", "v1", "LeaderWorkerSet", "leaderworkersets")
SERVICE = Kind("", "v1", "Service", "services")
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
_RBAC = "rbac.authorization.k8s.io"
ROLE = Kind(_RBAC, "v1", "Role", "roles")
ROLE_BINDING = Kind(_RBAC, "v1", "RoleBinding", "rolebindings")

OnRepair = Callable[[Json, str], None]
"""(the resource that owns the child, as an object with kind and metadata; what was repaired). Must not block."""
Check = Callable[[Json], Awaitable[None]]
"""Called with a desired object before it is written. Raises ArksError."""


async def no_check(desired: Json) -> None:
    """The object's own name is all that it needs."""


class Children:
    """Child objects of one kind, current while `run` runs."""

    def __init__(
        self,
        api: KubeApi,
        kind: Kind,
        namespace: str | None,
        *,
        clock: Clock,
        on_repair: OnRepair,
        check: Check = no_check,
    ) -> None:
        self.cache: Cache[Child] = Cache()
        self._api = api
        self._kind = kind
        self._clock = clock
        self._on_repair = on_repair
        self._check = check
        self._repairs = Repairs()
        self._right: dict[Key, tuple[str, str]] = {}
        """Digest and fields of ours with which an object was last found as desired."""
        self._informer = Informer(api, kind, self._read, self.cache, namespace=namespace, labels=APPLICATION_LABEL)

    def _read(self, obj: Json) -> Child:
        return read_child(obj, self._api.field_manager)

    async def run(self) -> None:
        await self._informer.run()

    def get(self, key: Key, application: str, owner: str) -> Child | None:
        """The child of this name, if it belongs to the application of kind `owner`."""
        child = self.cache.get(key)
        return child if child is not None and child.belongs_to(application, owner) else None

    def of(self, owner: str) -> set[Key]:
        """Applications of kind `owner` that have a child of this kind."""
        return {Key(key.namespace, child.application) for key, child in self.cache.items() if child.owner == owner}

    def subscribe(self, owner: str, listener: Callable[[Key], None]) -> None:
        """`listener` gets the application of kind `owner` whose child has changed or is deleted."""
        known: dict[Key, Key] = {}

        def changed(key: Key) -> None:
            child = self.cache.get(key)
            if child is not None and child.owner == owner:
                known[key] = Key(key.namespace, child.application)
                listener(known[key])
            elif key in known:
                listener(known.pop(key))

        self.cache.subscribe(changed)

    async def apply(self, desired: Json) -> float | None:
        """Create or update the object; no request if it is as desired.

        Returns the seconds until a repair that has to wait. Raises ArksError: Invalid if the server rejects the
        object, NameConflict if an object of another owner has the name.
        """
        key = key_of_object(desired)
        known = self.cache.get(key)
        if known is not None and self._is_right(key, known, desired):
            return None
        found = await ownership.find(self._api, self._kind, desired)
        if found is not None and self._is_right(key, self._read(found), desired):
            return None
        change = self._change(key, found, desired)
        wait_seconds = self._repairs.wait_seconds(key, self._clock.monotonic()) if change else 0.0
        if wait_seconds > 0:
            return wait_seconds
        await self._check(desired)
        written = await ownership.write(self._api, self._kind, desired, found)
        self._right[key] = (_digest(desired), self._read(written).fields)
        if change and (found is None or not same_content(found, written)):
            self._note_repair(key, desired, change)
        return None

    def _is_right(self, key: Key, child: Child, desired: Json) -> bool:
        """Whether nothing is to be written. An object that is being deleted is created again once it is gone."""
        owner, digest = ownership.controller_of(desired) or {}, _digest(desired)
        if not child.belongs_to(owner["name"], owner["kind"]):
            return False
        if child.terminating:
            return True
        if (child.applied, child.owner_uid) != (digest, owner["uid"]):
            return False
        if self._right.get(key) == (digest, child.fields):
            return True
        if lost_fields(desired, json.loads(child.fields)):
            return False
        self._right[key] = (digest, child.fields)
        return True

    def _change(self, key: Key, found: Json | None, desired: Json) -> str:
        """What another writer did to an object that our last write had made as desired; empty if nothing."""
        digest = _digest(desired)
        if found is None:
            return "deleted, created again" if self._right.get(key, ("", ""))[0] == digest else ""
        if self._read(found).applied != digest:
            return ""
        return describe(self._lost(found, desired))

    def _lost(self, found: Json, desired: Json) -> tuple[LostField, ...]:
        manager = self._api.field_manager
        return lost_fields(desired, our_fields(found, manager), fields_of_others(found, manager))

    def _note_repair(self, key: Key, desired: Json, change: str) -> None:
        wait_seconds = self._repairs.repaired(key, self._clock.monotonic())
        owner = ownership.controller_of(desired) or {}
        about = {**owner, "metadata": {"namespace": key.namespace, "name": owner["name"], "uid": owner["uid"]}}
        next_repair = f"; another change is set back after {wait_seconds:.0f} s" if wait_seconds > 2 else ""
        self._on_repair(about, f"{self._kind.kind} {key.name}: {change}{next_repair}")

    async def scale_down(self, key: Key, replicas: int, application: str, owner: str) -> None:
        """Lower `spec.replicas` of the application's child and change nothing else."""
        existing = self.get(key, application, owner)
        if existing is not None and existing.replicas > replicas:
            metadata = {"uid": existing.uid, "annotations": {APPLIED: ""}}
            await self._api.merge(self._kind, key, {"metadata": metadata, "spec": {"replicas": replicas}})

    async def delete(self, key: Key, application: str, owner: str) -> bool:
        """Delete the application's child; True once there is none."""
        existing = self.get(key, application, owner)
        if existing is None:
            self.forget(key)
            return True
        if not existing.terminating:
            await self._api.delete(self._kind, key, uid=existing.uid)
        return False

    def forget(self, key: Key) -> None:
        """The child is no longer desired."""
        self._right.pop(key, None)
        self._repairs.forget(key)


def _digest(desired: Json) -> str:
    return str(desired["metadata"]["annotations"][APPLIED])
