"""Objects that we make for applications: read by a watch, written only when they are not as wanted."""

from collections.abc import Callable
from dataclasses import dataclass

from arks.app_deployer.domain.launch.manifests import APPLICATION, APPLIED, IN_PLACE, REVISION
from arks.kit.cache import Cache
from arks.kit.errors import Invalid, NotFound
from arks.kit.kube.api import Json, Kind, KubeApi, key_of_object
from arks.kit.kube.informer import Informer
from arks.kit.reconcile import Key

LEADER_WORKER_SET = Kind("leaderworkerset.x-k8s.io", "v1", "LeaderWorkerSet", "leaderworkersets")
SERVICE = Kind("", "v1", "Service", "services")
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")


@dataclass(frozen=True, slots=True)
class Child:
    application: str
    owner: str
    """Kind of the resource that it was made for."""
    applied: str
    """Digest of what was last wanted."""
    generation: int
    """0 for kinds that do not count changes."""
    replicas: int
    revision: str
    in_place: str
    leaving: bool


class Children:
    """Of one kind, current while `run` runs."""

    def __init__(self, api: KubeApi, kind: Kind, namespace: str | None) -> None:
        self.cache: Cache[Child] = Cache()
        self._api = api
        self._kind = kind
        self._informer = Informer(api, kind, _read, self.cache, namespace=namespace, labels=APPLICATION)
        self._written: dict[Key, Child] = {}
        """As the API server had them after our last write."""

    async def run(self) -> None:
        await self._informer.run()

    def get(self, key: Key) -> Child | None:
        return self.cache.get(key)

    def of(self, owner: str) -> set[Key]:
        """Applications of that kind that have a child here."""
        return {Key(key.namespace, child.application) for key, child in self.cache.items() if child.owner == owner}

    def subscribe(self, owner: str, listener: Callable[[Key], None]) -> None:
        """`listener` is told the application of that kind whose child has changed or is gone."""
        known: dict[Key, Key] = {}

        def changed(key: Key) -> None:
            child = self.cache.get(key)
            if child is not None and child.owner == owner:
                known[key] = Key(key.namespace, child.application)
                listener(known[key])
            elif key in known:
                listener(known.pop(key))

        self.cache.subscribe(changed)

    async def apply(self, wanted: Json) -> None:
        """Nothing is sent when it is as wanted. Raises ArksError; Invalid when the server refuses it."""
        key = key_of_object(wanted)
        there, written = self.cache.get(key), self._written.get(key)
        digest = wanted["metadata"]["annotations"][APPLIED]
        if there is not None and there.applied == digest:
            touched = written is not None and written.applied == digest and written.generation != there.generation
            if not touched or there.leaving:
                return  # what leaves is made anew when the watch tells that it is gone
        self._written[key] = _read(await self._api.apply(self._kind, wanted))

    async def scale_down(self, key: Key, replicas: int) -> None:
        """Nothing else of it changes."""
        there = self.cache.get(key)
        if there is not None and there.replicas > replicas:
            patch = {"metadata": {"annotations": {APPLIED: ""}}, "spec": {"replicas": replicas}}
            await self._api.merge(self._kind, key, patch)

    async def delete(self, key: Key, owner: str) -> bool:
        """True when none of that kind of owner is there any more."""
        there = self.cache.get(key)
        if there is None or there.owner != owner:
            self._written.pop(key, None)
            return True
        if not there.leaving:
            await self._api.delete(self._kind, key)
        return False


def _read(obj: Json) -> Child:
    metadata = obj["metadata"]
    annotations = metadata.get("annotations", {})
    owners = metadata.get("ownerReferences", [])
    return Child(
        application=metadata.get("labels", {}).get(APPLICATION, ""),
        owner=next((one["kind"] for one in owners if one.get("controller")), ""),
        applied=annotations.get(APPLIED, ""),
        generation=metadata.get("generation", 0),
        replicas=obj.get("spec", {}).get("replicas", 0),
        revision=annotations.get(REVISION, ""),
        in_place=annotations.get(IN_PLACE, ""),
        leaving="deletionTimestamp" in metadata,
    )


def refusal_message(error: Invalid | NotFound) -> str:
    """What the API server said to something that we wanted to make."""
    if isinstance(error, NotFound) and LEADER_WORKER_SET.kind in str(error):
        return f"LeaderWorkerSet is not installed in this cluster ({error})"
    return str(error)
