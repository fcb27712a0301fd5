"""Writes the HorizontalPodAutoscaler of each autoscaler, without taking over one that has another owner."""

from dataclasses import dataclass
from typing import Any

from arks.contracts.resources import ArksAutoscaler
from arks.kit.cache import Cache
from arks.kit.errors import Conflict, Invalid
from arks.kit.key import Key, key_of
from arks.kit.kube.api import KubeApi
from arks.kit.kube.comparison import contains
from arks.kit.kube.kinds import Kind
from arks.kit.kube.ownership import NAME_CONFLICT, NameConflict, belongs_to, check
from arks.kit.types import Json
from arks.metrics.domain.scaling.limits import Limit
from arks.metrics.domain.scaling.pod_autoscaler import inactive, lowest, manifest, without_tolerance

POD_AUTOSCALER = Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")


@dataclass(frozen=True, slots=True)
class Written:
    """What is kept of a HorizontalPodAutoscaler. A change of its other fields starts no reconcile."""

    owners: Json
    spec: Json
    limit: Limit | None


def read(obj: Json) -> Written:
    conditions: list[dict[str, Any]] = obj.get("status", {}).get("conditions") or []
    owners = {"metadata": {"ownerReferences": obj["metadata"].get("ownerReferences") or []}}
    return Written(owners, obj["spec"], inactive(conditions))


class PodAutoscalers:
    """`written`: those that carry our label, by name."""

    def __init__(self, api: KubeApi, written: Cache[Written]) -> None:
        self._api = api
        self._written = written
        self._compared: dict[Key, tuple[Written | None, str | None, int | None]] = {}
        """What was last found equal: a comparison at each decision would cost a tenth of it."""
        self._to_zero = True
        """Whether the cluster has HPAScaleToZero, until it has refused a minimum of 0."""

    async def carry_out(self, autoscaler: ArksAutoscaler) -> Limit | None:
        """Make it match the spec. Returns why it does not act. Raises ArksError."""
        key = key_of(autoscaler)
        try:
            await self._write(key, autoscaler)
        except NameConflict as error:
            return Limit(NAME_CONFLICT, str(error))
        except Conflict:
            return None  # changed meanwhile: the next decision compares again
        found = self._written.get(key)
        return None if found is None else found.limit

    async def remove(self, key: Key) -> None:
        """Delete the one of an autoscaler that wants none. Raises ArksError."""
        self._compared.pop(key, None)
        found = self._written.get(key)
        owner = {"apiVersion": f"{ArksAutoscaler.group}/v1", "kind": ArksAutoscaler.__name__, "name": key.name}
        if found is not None and belongs_to(found.owners, owner):
            await self._api.delete(POD_AUTOSCALER, key)

    async def _write(self, key: Key, autoscaler: ArksAutoscaler) -> None:
        written = self._written.get(key)
        pair = written, autoscaler.metadata.uid, autoscaler.metadata.generation
        if written is not None and self._compared.get(key) == pair:
            return
        desired = manifest(autoscaler, to_zero=self._to_zero)
        if written is not None and _same(written.spec, written.owners, desired):
            self._compared[key] = pair
            return
        try:
            await self._put(key, desired)
        except Invalid as error:
            if not self._to_zero or lowest(autoscaler) > 0 or "minReplicas" not in str(error):
                raise
            self._to_zero = False
            await self._put(key, manifest(autoscaler, to_zero=False))

    async def _put(self, key: Key, desired: Json) -> None:
        found = await self._api.get(POD_AUTOSCALER, key)
        if found is None:
            await self._api.create(POD_AUTOSCALER, desired)
            return
        owner = desired["metadata"]["ownerReferences"][0]
        check(POD_AUTOSCALER, found, owner, owner)
        if not _same(found["spec"], found, desired):
            version = {"resourceVersion": found["metadata"]["resourceVersion"]}
            patch = {"metadata": desired["metadata"] | version, "spec": desired["spec"]}
            await self._api.merge(POD_AUTOSCALER, key, patch)


def _same(spec: Json, owned: Json, desired: Json) -> bool:
    uids = [owner.get("uid") for owner in owned["metadata"].get("ownerReferences") or []]
    same_owner = desired["metadata"]["ownerReferences"][0]["uid"] in uids
    return same_owner and contains(spec, without_tolerance(desired["spec"]))
