"""Workers of storage paths: choose, create, replace and delete their Jobs, and keep their outcomes.

All state is in the cluster: annotations of a Job name its source and its outcome, so that every replica of the service
can continue the work of another.
"""

import structlog

from arks.contracts.resources import ArksModel
from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.errors import ArksError, Conflict, Invalid, Unavailable
from arks.kit.key import Key, key_of
from arks.kit.kube import ownership
from arks.kit.kube.api import KubeApi, key_of_object
from arks.kit.kube.pod_defaults import PodDefaults
from arks.kit.tracing import NoTracer, Tracer
from arks.kit.types import Json
from arks.model_manager.adapters.kubernetes.consumers import Consumers
from arks.model_manager.adapters.kubernetes.faults import Faults
from arks.model_manager.adapters.kubernetes.interpretation import download_of, outcome_of
from arks.model_manager.adapters.kubernetes.manifests import (
    OUTCOME,
    StoragePath,
    WorkerOptions,
    job_manifest,
    job_name,
    storage_path_of,
    template_of,
)
from arks.model_manager.adapters.kubernetes.objects import JOB, Jobs
from arks.model_manager.adapters.kubernetes.placement import NO_PLACEMENT, Placement, placement_of
from arks.model_manager.adapters.kubernetes.progress import WorkerProgress
from arks.model_manager.adapters.kubernetes.states import ObservedJob, ObservedPod, ObservedPvc, parse_job
from arks.model_manager.adapters.metrics import DownloadMetrics
from arks.model_manager.domain.observation import Download, DownloadState
from arks.model_manager.domain.protocol import Found, Outcome, outcome_to_json
from arks.model_manager.domain.weights_source import WeightsSource

log = structlog.get_logger(__name__)


class Workers:
    def __init__(
        self,
        api: KubeApi,
        *,
        models: Cache[ArksModel],
        jobs: Jobs,
        progress: WorkerProgress,
        faults: Faults,
        metrics: DownloadMetrics,
        worker: WorkerOptions,
        clock: Clock,
        consumers: Consumers,
        engines: PodDefaults,
        tracer: Tracer | None = None,
    ) -> None:
        """`engines`: the platform's defaults of engines: where volumes are needed."""
        self._api = api
        self._models = models
        self._jobs = jobs
        self._progress = progress
        self._faults = faults
        self._metrics = metrics
        self._worker = worker
        self._clock = clock
        self._consumers = consumers
        self._engines = engines
        self._tracer = tracer or NoTracer()

    async def observe(
        self, storage_path: str, source: WeightsSource, pvc: ObservedPvc
    ) -> tuple[Found | None, Download | None]:
        """The weights that a worker of this source found, and the download of the path's Job."""
        job = self._job(storage_path, source, pvc)
        if job is None:
            return None, None
        pod = self._jobs.pod_of(job)
        outcome = outcome_of(job, pod)
        if outcome is not None and job.outcome is None:
            await self._record(job, outcome, pod)
        found = outcome.found if outcome is not None and job.fingerprint == source.fingerprint else None
        return found, await self._download(job, pod)

    async def start(self, model: ArksModel, path: StoragePath, source: WeightsSource, pvc: ObservedPvc) -> None:
        """Create the Job of this source, unless it exists. Raises ArksError."""
        failures = best_bytes = 0
        for job in self._jobs.at_path(str(path)):
            if self._fits(job, source, pvc):
                download = await self._download(job, self._jobs.pod_of(job))
                if download is None or download.state is not DownloadState.FAILED:
                    return
                failures, best_bytes = download.failures, max(job.best_bytes, download.progress.done_bytes)
            if source.kind.downloads and job.key.name != job_name(model.name):
                await self._delete(job)  # of another model, it would write to the same files
        desired = job_manifest(
            model,
            path,
            source,
            pvc.uid,
            self._worker,
            failures=failures,
            best_bytes=best_bytes,
            placement=self._placement(model, pvc),
        )
        try:
            created = await self._api.create(JOB, desired)
        except Conflict:
            created = await self._replace(desired)
        self._jobs.put(created)

    async def stop(self, storage_path: str) -> None:
        for job in self._jobs.at_path(storage_path):
            await self._delete(job)

    def _job(self, storage_path: str, source: WeightsSource, pvc: ObservedPvc) -> ObservedJob | None:
        """The newest Job of this source that wrote to this PVC, otherwise the newest of another source."""
        jobs = [job for job in self._jobs.at_path(storage_path) if job.pvc_uid == pvc.uid]
        same = [job for job in jobs if job.fingerprint == source.fingerprint]
        if same:
            return same[-1] if self._fits(same[-1], source, pvc) else None
        return jobs[-1] if jobs else None

    def _fits(self, job: ObservedJob, source: WeightsSource, pvc: ObservedPvc) -> bool:
        """Whether a Job has succeeded, or would be created the same now: image, resources, secret and so on."""
        if job.fingerprint != source.fingerprint or job.pvc_uid != pvc.uid:
            return False
        outcome = outcome_of(job, self._jobs.pod_of(job))
        if outcome is None and job.complete:
            return False
        model = self._models.get(Key(job.key.namespace, job.model))
        if model is None or (outcome is not None and outcome.report.done):
            return True
        path = storage_path_of(key_of(model), model.spec)
        if str(path) != job.storage_path:
            return True
        if template_of(job_manifest(model, path, source, pvc.uid, self._worker)) != job.template:
            return False
        pod = self._jobs.pod_of(job)
        is_placed = job.ended or (pod is not None and pod.running) or pvc.phase != "Pending"
        return is_placed or job.placement == self._placement(model, pvc).digest

    def _placement(self, model: ArksModel, pvc: ObservedPvc) -> Placement:
        """Where the download has to run so that the applications reach its volume. A model that names nodes itself
        keeps them."""
        given = model.spec.instance_spec
        if not pvc.by_first_pod or (given is not None and {"nodeSelector", "affinity"} & given.to_dict().keys()):
            return NO_PLACEMENT
        consumers = [consumer for _, consumer in self._consumers.of(key_of(model))]
        return placement_of(consumers, self._engines)

    async def _replace(self, desired: Json) -> Json:
        """Replace the existing Job of this name, unless it is the desired one and was created a moment ago."""
        key = key_of_object(desired)
        existing = await self._api.get(JOB, key)
        if existing is None or "deletionTimestamp" in existing["metadata"]:
            raise Unavailable(f"the Job {key} is being deleted")
        owner, job = ownership.controller_of(desired) or {}, parse_job(existing)
        try:
            ownership.check(JOB, existing, owner, owner)
        except ownership.NameConflict as error:
            raise Invalid(str(error)) from error
        if job is None:
            raise Invalid(f"the Job {key}, which would load the model, lacks the annotations that Arks sets: delete it")
        new = parse_job(existing | {"metadata": existing["metadata"] | desired["metadata"]})
        if new is not None and not job.ended and job.outcome is None and _same_attempt(job, new):
            return existing
        await self._delete(job)
        try:
            return await self._api.create(JOB, desired)
        except Conflict as error:
            raise Unavailable(f"the Job {key} is being deleted") from error

    async def _delete(self, job: ObservedJob) -> None:
        await self._api.delete(JOB, job.key, uid=job.uid)
        self._jobs.deleted(job)

    async def _download(self, job: ObservedJob, pod: ObservedPod | None) -> Download | None:
        if pod is not None and pod.running:
            self._progress.want()
        start_fault = await self._faults.of_start(job, pod)
        return download_of(job, pod, self._progress.of(pod), start_fault=start_fault, now=self._clock.now())

    async def _record(self, job: ObservedJob, outcome: Outcome, pod: ObservedPod | None) -> None:
        """Annotate the Job, because its pod may be deleted, and count a failure."""
        annotations = {OUTCOME: outcome_to_json(outcome)}
        try:
            self._jobs.put(await self._api.merge(JOB, job.key, {"metadata": {"annotations": annotations}}))
        except ArksError as error:
            log.info("outcome not recorded", job=str(job.key), error=str(error))
            return
        failure, message = outcome.report.failure, outcome.report.message
        attributes = {
            "arks.namespace": job.key.namespace,
            "arks.model": job.model,
            "arks.storage_path": job.storage_path,
        }
        ended_at = (pod.ended_at if pod else None) or job.ended_at or self._clock.now()
        self._tracer.record("download", attributes, began_at=job.created_at, ended_at=ended_at, failure=failure)
        if failure is not None:
            self._metrics.failed.labels(failure).inc()
            log.warning("download failed", storage_path=job.storage_path, kind=failure, reason=message)


def _same_attempt(job: ObservedJob, new: ObservedJob) -> bool:
    def attempt(found: ObservedJob) -> tuple[object, ...]:
        return found.template, found.placement, found.failures, found.best_bytes

    return attempt(job) == attempt(new)
