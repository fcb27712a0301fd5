"""Objects that app-deployer creates for applications: watched, and written only if they differ from the spec."""

from collections.abc import Callable
from dataclasses import dataclass

from arks.app_deployer.domain.launch.manifests import APPLIED, REVISION, WITHOUT_SURGE
from arks.contracts.names import APPLICATION_LABEL
from arks.kit.cache import Cache
from arks.kit.errors import Invalid, NotFound
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi, key_of_object
from arks.kit.kube.informer import Informer
from arks.kit.kube.kinds import Kind
from arks.kit.types import Json

LEADER_WORKER_SET = Kind("leaderworkerset.x-k8s.io", "v1", "LeaderWorkerSet", "leaderworkersets")
SERVICE = Kind("", "v1", "Service", "services")
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")


@dataclass(frozen=True, slots=True)
class Child:
    application: str
    owner: str
    """Kind of the resource that owns it."""
    applied: str
    """Digest of the last desired state."""
    generation: int
    """0 for kinds without a generation."""
    replicas: int
    revision: str
    without_surge: str
    terminating: bool


class Children:
    """Child objects of one kind, current while `run` runs."""

    def __init__(self, api: KubeApi, kind: Kind, namespace: str | None) -> None:
        self.cache: Cache[Child] = Cache()
        self._api = api
        self._kind = kind
        self._informer = Informer(api, kind, _read, self.cache, namespace=namespace, labels=APPLICATION_LABEL)
        self._wait_for_state: dict[Key, Child] = {}
        """Objects as the API server returned them after the last write."""

    async def run(self) -> None:
        await self._informer.run()

    def get(self, key: Key) -> Child | None:
        return self.cache.get(key)

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

    async def apply(self, desired: Json) -> None:
        """Create or update the object; no request if it is as desired.

        Raises ArksError; Invalid if the server rejects the object.
        """
        key = key_of_object(desired)
        existing, written = self.cache.get(key), self._wait_for_state.get(key)
        digest = desired["metadata"]["annotations"][APPLIED]
        if existing is not None and existing.applied == digest:
            touched = written is not None and written.applied == digest and written.generation != existing.generation
            if not touched or existing.terminating:
                return  # being deleted; recreated on the DELETED event
        self._wait_for_state[key] = _read(await self._api.apply(self._kind, desired))

    async def scale_down(self, key: Key, replicas: int) -> None:
        """Lower `spec.replicas` and change nothing else."""
        existing = self.cache.get(key)
        if existing is not None and existing.replicas > replicas:
            patch = {"metadata": {"annotations": {APPLIED: ""}}, "spec": {"replicas": replicas}}
            await self._api.merge(self._kind, key, patch)

    async def delete(self, key: Key, owner: str) -> bool:
        """Delete the object; True once no object of that owner's kind exists."""
        existing = self.cache.get(key)
        if existing is None or existing.owner != owner:
            self._wait_for_state.pop(key, None)
            return True
        if not existing.terminating:
            await self._api.delete(self._kind, key)
        return False


def _read(obj: Json) -> Child:
    metadata = obj["metadata"]
    annotations = metadata.get("annotations", {})
    owners = metadata.get("ownerReferences", [])
    return Child(
        application=metadata.get("labels", {}).get(APPLICATION_LABEL, ""),
        owner=next((reference["kind"] for reference in owners if reference.get("controller")), ""),
        applied=annotations.get(APPLIED, ""),
        generation=metadata.get("generation", 0),
        replicas=obj.get("spec", {}).get("replicas", 0),
        revision=annotations.get(REVISION, ""),
        without_surge=annotations.get(WITHOUT_SURGE, ""),
        terminating="deletionTimestamp" in metadata,
    )


def rejection_message(error: Invalid | NotFound) -> str:
    """Message for an object that the API server rejected."""
    if isinstance(error, NotFound) and LEADER_WORKER_SET.kind in str(error):
        return f"LeaderWorkerSet is not installed in this cluster ({error})"
    return str(error)
