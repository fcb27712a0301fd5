"""A model's Dataset, Runtime and DataLoad of Fluid: created, changed with the spec, and observed.

All three have the model's name and belong to it, so Kubernetes deletes them with the model. Fluid makes a PVC of the
Dataset's name once it is bound.
"""

import hashlib
import json

from arks.contracts.resources import ArksModel, FluidStorage
from arks.kit.errors import Invalid, NotFound
from arks.kit.key import Key, key_of
from arks.kit.kube import ownership
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import Kind
from arks.kit.kube.pod_template import owner_reference
from arks.kit.types import Json
from arks.model_manager.domain.fluid import FluidObject, FluidVerdict, judge

_GROUP, _VERSION = "data.fluid.io", "v1alpha1"
APPLIED = "arks.ai/applied"
"""Annotation: digest of the spec that was written."""
DATASET = Kind(_GROUP, _VERSION, "Dataset", "datasets")
DATA_LOAD = Kind(_GROUP, _VERSION, "DataLoad", "dataloads")


def runtime_kind(storage: FluidStorage) -> Kind:
    kind = storage.runtime.kind
    return Kind(_GROUP, _VERSION, kind, f"{kind.lower()}s")


class Fluid:
    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def observe(self, model: ArksModel, storage: FluidStorage) -> FluidVerdict:
        """Raises ArksError."""
        dataset, runtime, load = desired(model, storage)
        loaded = await self._seen(*load) if load is not None else None
        return judge(await self._seen(*dataset), await self._seen(*runtime), loaded)

    async def ensure(self, model: ArksModel, storage: FluidStorage) -> None:
        """Create what lacks, and change the Dataset and Runtime of an earlier spec. The DataLoad is created once the
        Dataset is bound. Raises ArksError; Invalid if Fluid is not installed, or a name belongs to another object.
        """
        dataset, runtime, load = desired(model, storage)
        try:
            for kind, wanted in (dataset, runtime):
                found = await ownership.find(self._api, kind, wanted)
                if found is None or _applied(found) != _applied(wanted):
                    await ownership.write(self._api, kind, wanted, found)
            bound = (await self._seen(*dataset)).phase == "Bound"
            if load is not None and bound and await ownership.find(self._api, *load) is None:
                await self._api.create(*load)
        except NotFound as error:
            raise Invalid(f"{storage.runtime.kind}: the cluster has no such kind, so Fluid is not installed") from error
        except ownership.NameConflict as error:
            raise Invalid(str(error)) from error

    async def _seen(self, kind: Kind, wanted: Json) -> FluidObject:
        key = Key(wanted["metadata"]["namespace"], wanted["metadata"]["name"])
        found = await self._api.get(kind, key)
        if found is None:
            return FluidObject(f"{kind.kind} {key}")
        status = found.get("status") or {}
        conditions = status.get("conditions") or []
        message = str(conditions[-1].get("message", "")) if conditions else ""
        current = _applied(found) == _applied(wanted)
        return FluidObject(f"{kind.kind} {key}", True, current, str(status.get("phase", "")), message)


def desired(
    model: ArksModel, storage: FluidStorage
) -> tuple[tuple[Kind, Json], tuple[Kind, Json], tuple[Kind, Json] | None]:
    """Dataset, Runtime and DataLoad, which may be absent."""
    kind = runtime_kind(storage)
    dataset = _object(model, DATASET, {"mounts": storage.mounts, "accessModes": ["ReadOnlyMany"]})
    runtime = _object(model, kind, dict(storage.runtime.spec))
    if not storage.load:
        return (DATASET, dataset), (kind, runtime), None
    sub_path = (model.spec.storage.sub_path if model.spec.storage else None) or ""
    key = key_of(model)
    target = {"dataset": {"name": key.name, "namespace": key.namespace}, "loadMetadata": True}
    load = _object(model, DATA_LOAD, target | {"target": [{"path": f"/{sub_path.strip('/')}"}]})
    return (DATASET, dataset), (kind, runtime), (DATA_LOAD, load)


def _object(model: ArksModel, kind: Kind, spec: Json) -> Json:
    metadata = {
        "name": model.name,
        "namespace": model.namespace,
        "annotations": {APPLIED: hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]},
        "ownerReferences": [owner_reference(model)],
    }
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}


def _applied(found: Json) -> str:
    return str(found["metadata"].get("annotations", {}).get(APPLIED, ""))
