"""Storage on Kubernetes: a path in a PVC, filled by the pod of a Job."""

import asyncio
from collections.abc import Callable

import structlog

from arks.contracts.resources import ArksModel, ArksModelSpec, FluidStorage
from arks.kit.cache import Cache
from arks.kit.errors import ArksError, Conflict, Invalid, Unavailable
from arks.kit.key import Key, key_of
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import POD
from arks.model_manager.adapters.kubernetes.consumers import Consumers
from arks.model_manager.adapters.kubernetes.faults import Faults
from arks.model_manager.adapters.kubernetes.fluid import Fluid
from arks.model_manager.adapters.kubernetes.interpretation import stored_of, workloads_on
from arks.model_manager.adapters.kubernetes.manifests import (
    MODEL_LABEL,
    StoragePath,
    lending_patch,
    ownership_patch,
    pvc_manifest,
    storage_path_of,
)
from arks.model_manager.adapters.kubernetes.objects import PVC, Jobs, Pvcs
from arks.model_manager.adapters.kubernetes.placement import warning_of
from arks.model_manager.adapters.kubernetes.progress import WorkerProgress
from arks.model_manager.adapters.kubernetes.states import ObservedPvc
from arks.model_manager.adapters.kubernetes.storage_classes import StorageClasses
from arks.model_manager.adapters.kubernetes.workers import Workers
from arks.model_manager.domain.credentials import Credentials
from arks.model_manager.domain.observation import Content, Download, StoredWeights
from arks.model_manager.domain.removal import Removal
from arks.model_manager.domain.source_kind import SourceKind
from arks.model_manager.domain.storage_path import is_reserved
from arks.model_manager.domain.weights_source import WeightsSource

log = structlog.get_logger(__name__)


class KubeStorage:
    def __init__(
        self,
        api: KubeApi,
        *,
        models: Cache[ArksModel],
        pvcs: Pvcs,
        jobs: Jobs,
        progress: WorkerProgress,
        workers: Workers,
        faults: Faults,
        poll_seconds: float,
        consumers: Consumers,
        classes: StorageClasses,
        warn: Callable[[ArksModel, str], None],
    ) -> None:
        """`poll_seconds`: polling interval of each PVC that is not watched. `warn`: about a volume that applications
        cannot use."""
        self._api = api
        self._models = models
        self._pvcs = pvcs
        self._jobs = jobs
        self._progress = progress
        self._workers = workers
        self._faults = faults
        self._poll_seconds = poll_seconds
        self._consumers = consumers
        self._classes = classes
        self._warn = warn
        self._fluid = Fluid(api)
        self._warned: dict[Key, str] = {}
        """The last warning about each PVC."""
        consumers.changed = self._consumers_changed
        self._changed: Callable[[str], None] = lambda _: None

    def follow(self, changed: Callable[[str], None]) -> None:
        """`changed` is called with a storage path whenever its PVC, Job or progress changes."""
        self._changed = self._jobs.changed = self._progress.changed = changed

    def pvc_changed(self, key: Key) -> None:
        """For the watch of PVCs."""
        for path in {path for path in self._paths(key.namespace) if path.pvc == key}:
            self._changed(str(path))

    def _consumers_changed(self, key: Key) -> None:
        model = self._models.get(key)
        if model is not None:
            self._changed(self.storage_path(key, model.spec))

    # --- the port

    def storage_path(self, key: Key, spec: ArksModelSpec) -> str:
        return str(storage_path_of(key, spec))

    async def observe(self, storage_path: str, source: WeightsSource) -> tuple[StoredWeights, Download | None]:
        path = StoragePath.parse(storage_path)
        if refusal := _refusal(path, source):
            return refusal, None
        fluid = self._fluid_of(path)
        if fluid is not None:
            verdict = await self._fluid.observe(*fluid)
            if not verdict.usable:
                return StoredWeights(Content.CREATING, message=verdict.message, failing=verdict.failing), None
        pvc = await self._pvcs.get(path.pvc)
        if pvc is None and fluid is not None:
            return StoredWeights(Content.CREATING, message=f"Fluid has not made PVC {path.pvc} yet"), None
        if pvc is None:
            advice = "; spec.source is absent: create and fill it" if source.kind is SourceKind.STORED else ""
            return StoredWeights(Content.ABSENT, message=f"PVC {path.pvc} does not exist{advice}"), None
        pvc = await self._classes.judge(pvc)
        self._check_access(path.pvc, pvc)
        pending_reason = await self._faults.of_pending(path.pvc, pvc)
        found, download = await self._workers.observe(storage_path, source, pvc)
        return stored_of(pvc, path, found, pending_reason), download

    def _fluid_of(self, path: StoragePath) -> tuple[ArksModel, FluidStorage] | None:
        """The model whose Dataset makes this PVC: it has the PVC's name."""
        model = self._models.get(path.pvc)
        fluid = model.spec.storage.fluid if model is not None and model.spec.storage is not None else None
        return (model, fluid) if model is not None and fluid is not None else None

    def _check_access(self, key: Key, pvc: ObservedPvc) -> None:
        """Warn once about applications whose replicas cannot mount the PVC on all of their nodes."""
        for model in self._users_of(key):
            warning = warning_of(key.name, pvc.access_modes, self._consumers.of(key_of(model)))
            if warning is not None:
                if self._warned.get(key) != warning:
                    self._warned[key] = warning
                    self._warn(model, warning)
                return
        self._warned.pop(key, None)

    async def prepare(self, storage_path: str, key: Key) -> None:
        model = self._model(key)
        pvc = model.spec.storage.pvc if model.spec.storage is not None else None
        path = StoragePath.parse(storage_path)
        if model.spec.storage is not None and model.spec.storage.fluid is not None:
            await self._fluid.ensure(model, model.spec.storage.fluid)
            return
        if pvc is None:
            raise Invalid(f"PVC {path.pvc} does not exist, and without spec.storage.pvc it cannot be created")
        try:
            self._pvcs.put(await self._api.create(PVC, pvc_manifest(model, dict(pvc.spec))))
        except Conflict:
            log.info("PVC adopted", pvc=str(path.pvc), model=str(key))

    async def download(self, storage_path: str, key: Key, source: WeightsSource, credentials: Credentials) -> None:
        model, path = self._model(key), StoragePath.parse(storage_path)
        pvc = await self._pvcs.get(path.pvc)
        if pvc is None:
            raise Unavailable(f"PVC {path.pvc} was just deleted")
        if pvc.lent:
            self._pvcs.put(await self._api.merge(PVC, path.pvc, ownership_patch(model, pvc.uid)))
        await self._workers.start(model, path, source, await self._classes.judge(pvc))

    async def stop(self, storage_path: str) -> None:
        await self._workers.stop(storage_path)

    async def remove(self, storage_path: str, key: Key, *, shared: bool) -> Removal:
        """Kubernetes deletes a PVC with the model that owns it.

        If other models use the PVC, the oldest of them becomes its owner; if engines do, they own it until they end.
        """
        path = StoragePath.parse(storage_path)
        pvc = await self._pvcs.get(path.pvc)
        if pvc is None:
            return Removal.ABSENT
        model = self._model(key)
        if model.metadata.uid not in pvc.owner_uids:
            return Removal.KEPT
        heirs = [other for other in self._users_of(path.pvc) if other.metadata.uid != model.metadata.uid]
        if not heirs:
            return await self._lend(path.pvc, pvc.uid, model)
        heir = min(heirs, key=lambda other: (str(other.metadata.creation_timestamp), other.name))
        self._pvcs.put(await self._api.merge(PVC, path.pvc, ownership_patch(heir, pvc.uid)))
        log.info("PVC passed on", pvc=str(path.pvc), model=str(key), to=heir.key)
        return Removal.SHARED

    async def _lend(self, pvc: Key, uid: str, model: ArksModel) -> Removal:
        """Make running engines the owners of a PVC, until a new model that uses it takes it over.

        A deletion that has begun cannot be undone: a model that is applied again would wait for the engines to end.
        """
        pods, _ = await self._api.list(POD, pvc.namespace, labels=f"{MODEL_LABEL}={model.name}")
        workloads = workloads_on(pods, pvc.name)
        if not workloads:
            return Removal.REMOVED
        self._pvcs.put(await self._api.merge(PVC, pvc, lending_patch(workloads, uid)))
        log.info("PVC lent", pvc=str(pvc), model=model.key, to=[workload["name"] for workload in workloads])
        return Removal.LENT

    # --- in the background

    async def poll_adopted_pvcs(self) -> None:
        """Poll the PVCs that Arks may not watch, so that their loss is noticed."""
        while True:
            await asyncio.sleep(self._poll_seconds)
            for key in self._pvcs.adopted(path.pvc for path in self._paths()):
                try:
                    _, changed = await self._pvcs.query(key)
                except ArksError as error:
                    log.info("PVC not read", pvc=str(key), error=str(error))
                    continue
                if changed:
                    self.pvc_changed(key)

    # --- models

    def _model(self, key: Key) -> ArksModel:
        model = self._models.get(key)
        if model is None:
            raise Unavailable(f"ArksModel {key} was just deleted")
        return model

    def _users_of(self, pvc: Key) -> list[ArksModel]:
        """Models that use the PVC and are not being deleted."""
        return [
            model
            for key, model in self._models.items()
            if model.metadata.deletion_timestamp is None and storage_path_of(key, model.spec).pvc == pvc
        ]

    def _paths(self, namespace: str | None = None) -> list[StoragePath]:
        models = self._models.items()
        return [storage_path_of(key, model.spec) for key, model in models if namespace in {None, key.namespace}]


def _refusal(path: StoragePath, source: WeightsSource) -> StoredWeights | None:
    """Why no model may have this path or source on Kubernetes; None for others."""
    if source.kind is SourceKind.FILE:
        advice = "on Kubernetes put the file into a PVC and omit spec.source"
        return StoredWeights(Content.ABSENT, message=f"spec.source.file is for one machine; {advice}")
    if is_reserved(path.path):
        message = f"storage.subPath {path.path} is reserved; choose another path"
        return StoredWeights(Content.REFUSED, message=message)
    return None
