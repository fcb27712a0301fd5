"""Storage on Kubernetes: a path in a volume claim, filled by the pod of a Job.

All state is in the cluster: a Job's annotations say what it loads and how it ended, so that any replica of the service
goes on where another one was.
"""

import asyncio
from collections.abc import Callable

import structlog

from arks.contracts.resources import ArksModel, ArksModelSpec
from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.errors import ArksError, Conflict, Invalid, Unavailable
from arks.kit.key import Key
from arks.kit.kube.api import POD, Json, KubeApi, key_of_object
from arks.model_manager.adapters.kubernetes.manifests import (
    MODEL_LABEL,
    OUTCOME,
    Place,
    Worker,
    claim_lent_to,
    claim_of,
    claim_owned_by,
    job_name,
    job_of,
    place_of,
    template_of,
)
from arks.model_manager.adapters.kubernetes.objects import CLAIM, EVENT, JOB, Claims, Jobs
from arks.model_manager.adapters.kubernetes.progress import Progress
from arks.model_manager.adapters.kubernetes.states import (
    ClaimSeen,
    JobSeen,
    PodSeen,
    job_seen,
    loading_of,
    newest_event,
    outcome_of,
    stored_of,
    workloads_on,
)
from arks.model_manager.adapters.local.directory import is_reserved
from arks.model_manager.adapters.metrics import LoadMetrics
from arks.model_manager.domain.observation import Content, Loading, LoadState, Stored
from arks.model_manager.domain.path_use import Removal
from arks.model_manager.domain.protocol import Outcome, outcome_to_json
from arks.model_manager.domain.source import Order, SourceKind

log = structlog.get_logger(__name__)

_QUIET_SECONDS = 2.0
"""So long a Job or pod may take to begin before Events are asked why it does not."""


class KubeStorage:
    def __init__(
        self,
        api: KubeApi,
        *,
        models: Cache[ArksModel],
        claims: Claims,
        jobs: Jobs,
        progress: Progress,
        metrics: LoadMetrics,
        worker: Worker,
        clock: Clock,
        look_seconds: float,
    ) -> None:
        """`look_seconds`: between two looks at each claim that we do not watch."""
        self._api = api
        self._models = models
        self._claims = claims
        self._jobs = jobs
        self._progress = progress
        self._metrics = metrics
        self._worker = worker
        self._clock = clock
        self._look_seconds = look_seconds
        self._changed: Callable[[str], None] = lambda _: None

    def follow(self, changed: Callable[[str], None]) -> None:
        """`changed` is called with the place whenever its state or progress changes."""
        self._changed = self._jobs.changed = self._progress.changed = changed

    def claim_changed(self, key: Key) -> None:
        """For the watch of claims."""
        for place in {place for place in self._places(key.namespace) if place.claim == key}:
            self._changed(str(place))

    # --- the port

    def place(self, key: Key, spec: ArksModelSpec) -> str:
        return str(place_of(key, spec))

    async def observe(self, place: str, order: Order) -> tuple[Stored, Loading | None]:
        where = Place.parse(place)
        if refusal := _refusal(where, order):
            return refusal, None
        claim = await self._claims.get(where.claim)
        if claim is None:
            advice = (
                "; spec.source is absent: somebody has to make and fill it" if order.kind is SourceKind.STORED else ""
            )
            return Stored(Content.ABSENT, message=f"the claim {where.claim} does not exist{advice}"), None
        why_pending = await self._why_pending(where.claim, claim)
        job = self._job(place, order, claim)
        if job is None:
            return stored_of(claim, where, None, why_pending), None
        pod = self._jobs.pod_of(job)
        outcome = outcome_of(job, pod)
        if outcome is not None and job.outcome is None:
            await self._write_down(job, outcome)
        found = outcome.found if outcome is not None and job.fingerprint == order.fingerprint else None
        return stored_of(claim, where, found, why_pending), await self._loading(job, pod)

    async def prepare(self, place: str, key: Key) -> None:
        model = self._model(key)
        pvc = model.spec.storage.pvc if model.spec.storage is not None else None
        where = Place.parse(place)
        if pvc is None:
            raise Invalid(f"the claim {where.claim} does not exist, and without spec.storage.pvc it cannot be made")
        try:
            self._claims.put(await self._api.create(CLAIM, claim_of(model, dict(pvc.spec))))
        except Conflict:
            log.info("claim adopted", claim=str(where.claim), model=str(key))

    async def load(self, place: str, key: Key, order: Order, token: str | None) -> None:
        model, where = self._model(key), Place.parse(place)
        claim = await self._claims.get(where.claim)
        if claim is None:
            raise Unavailable(f"the claim {where.claim} has just gone")
        if claim.lent:
            self._claims.put(await self._api.merge(CLAIM, where.claim, claim_owned_by(model)))
        failures = best_bytes = 0
        for job in self._jobs.of_place(place):
            if self._fits(job, order, claim):
                loading = await self._loading(job, self._jobs.pod_of(job))
                if loading is None or loading.state is not LoadState.FAILED:
                    return
                failures, best_bytes = loading.failures, max(job.best_bytes, loading.progress.done_bytes)
            if order.kind is SourceKind.HUB and job.key.name != job_name(model.name):
                await self._end(job)  # it would say, or write, something else
        wanted = job_of(model, where, order, claim.uid, self._worker, failures=failures, best_bytes=best_bytes)
        try:
            created = await self._api.create(JOB, wanted)
        except Conflict:
            created = await self._replace(wanted)
        self._jobs.put(created)

    async def stop(self, place: str) -> None:
        for job in self._jobs.of_place(place):
            await self._end(job)

    async def remove(self, place: str, key: Key, *, shared: bool) -> Removal:
        """A claim that the model owns is left to Kubernetes, which deletes it with the model.

        If other models use it, the oldest of them owns it from now on; if engines do, they have it until they end.
        """
        where = Place.parse(place)
        claim = await self._claims.get(where.claim)
        if claim is None:
            return Removal.ABSENT
        model = self._model(key)
        if model.metadata.uid not in claim.owner_uids:
            return Removal.KEPT
        heirs = [other for other in self._users_of(where.claim) if other.metadata.uid != model.metadata.uid]
        if not heirs:
            return await self._lend(where.claim, model)
        heir = min(heirs, key=lambda other: (str(other.metadata.creation_timestamp), other.name))
        self._claims.put(await self._api.merge(CLAIM, where.claim, claim_owned_by(heir)))
        log.info("claim passed on", claim=str(where.claim), model=str(key), to=heir.key)
        return Removal.SHARED

    async def _lend(self, claim: Key, model: ArksModel) -> Removal:
        """A claim that is being deleted never comes back: a model applied again would wait for engines to end.

        So engines that run keep it, as its owners, and the next model that uses it takes it from them.
        """
        pods, _ = await self._api.list(POD, claim.namespace, labels=f"{MODEL_LABEL}={model.name}")
        workloads = workloads_on(pods, claim.name)
        if not workloads:
            return Removal.REMOVED
        self._claims.put(await self._api.merge(CLAIM, claim, claim_lent_to(workloads)))
        log.info("claim lent", claim=str(claim), model=model.key, to=[one["name"] for one in workloads])
        return Removal.LENT

    # --- in the background

    async def look_at_adopted(self) -> None:
        """Claims that we may not watch are looked at now and then: their loss is seen too."""
        while True:
            await asyncio.sleep(self._look_seconds)
            for key in self._claims.adopted(place.claim for place in self._places()):
                try:
                    _, changed = await self._claims.look(key)
                except ArksError as error:
                    log.info("claim not looked at", claim=str(key), error=str(error))
                    continue
                if changed:
                    self.claim_changed(key)

    # --- Jobs

    def _job(self, place: str, order: Order, claim: ClaimSeen) -> JobSeen | None:
        """The newest that says something about what lies in this very claim: of this order, else of another."""
        jobs = [job for job in self._jobs.of_place(place) if job.claim_uid == claim.uid]
        same = [job for job in jobs if job.fingerprint == order.fingerprint]
        if same:
            return same[-1] if self._fits(same[-1], order, claim) else None
        return jobs[-1] if jobs else None

    def _fits(self, job: JobSeen, order: Order, claim: ClaimSeen) -> bool:
        """Whether a Job has done what is wanted, or would be made the same now: image, resources, secret and so on."""
        if job.fingerprint != order.fingerprint or job.claim_uid != claim.uid:
            return False
        outcome = outcome_of(job, self._jobs.pod_of(job))
        if outcome is None and job.complete:
            return False
        model = self._models.get(Key(job.key.namespace, job.model))
        if model is None or (outcome is not None and outcome.report.done):
            return True
        where = place_of(Key(model.namespace, model.name), model.spec)
        if str(where) != job.place:
            return True
        return template_of(job_of(model, where, order, claim.uid, self._worker)) == job.template

    async def _replace(self, wanted: Json) -> Json:
        """A Job of this name is there: it stays when it is the one that we want, made a moment ago."""
        key = key_of_object(wanted)
        existing = await self._api.get(JOB, key)
        if existing is None or "deletionTimestamp" in existing["metadata"]:
            raise Unavailable(f"the Job {key} is about to go")
        job, new = job_seen(existing), job_seen(existing | {"metadata": existing["metadata"] | wanted["metadata"]})
        if job is None:
            raise Invalid(f"the Job {key}, which would load the model, exists and was not made by Arks")
        if new is not None and not job.ended and job.outcome is None:
            same = (job.template, job.failures, job.best_bytes) == (new.template, new.failures, new.best_bytes)
            if same:
                return existing
        await self._end(job)
        try:
            return await self._api.create(JOB, wanted)
        except Conflict as error:
            raise Unavailable(f"the Job {key} is about to go") from error

    async def _end(self, job: JobSeen) -> None:
        await self._api.delete(JOB, job.key)
        self._jobs.ended(job)

    async def _loading(self, job: JobSeen, pod: PodSeen | None) -> Loading | None:
        if pod is not None and pod.running:
            self._progress.want()
        why_not = await self._why_not(job, pod)
        return loading_of(job, pod, self._progress.of(pod), why_not=why_not, now=self._clock.now())

    async def _write_down(self, job: JobSeen, outcome: Outcome) -> None:
        """The pod may go, and its words with it."""
        annotations = {OUTCOME: outcome_to_json(outcome)}
        try:
            self._jobs.put(await self._api.merge(JOB, job.key, {"metadata": {"annotations": annotations}}))
        except ArksError as error:
            log.info("outcome not written down", job=str(job.key), error=str(error))
            return
        if outcome.report.failure is not None:
            self._metrics.failed.labels(outcome.report.failure).inc()
            log.warning("download failed", place=job.place, kind=outcome.report.failure, reason=outcome.report.message)

    # --- why something does not come about, as Kubernetes tells people

    async def _why_pending(self, key: Key, claim: ClaimSeen) -> tuple[str, str]:
        if claim.phase != "Pending" or claim.deleting:
            return "", ""
        return newest_event(await self._events(key.namespace, claim.uid))

    async def _why_not(self, job: JobSeen, pod: PodSeen | None) -> str:
        known = pod is not None and (pod.running or pod.blocked is not None)
        started = known or job.ended or outcome_of(job, pod) is not None
        since = (pod or job).created_at
        if started or (self._clock.now() - since).total_seconds() < _QUIET_SECONDS:
            return ""
        reason, message = newest_event(await self._events(job.key.namespace, (pod or job).uid), faults_only=True)
        return f"{reason}: {message}" if reason else ""

    async def _events(self, namespace: str, uid: str) -> list[Json]:
        return (await self._api.list(EVENT, namespace, fields=f"involvedObject.uid={uid}"))[0]

    # --- models

    def _model(self, key: Key) -> ArksModel:
        model = self._models.get(key)
        if model is None:
            raise Unavailable(f"ArksModel {key} has just gone")
        return model

    def _users_of(self, claim: Key) -> list[ArksModel]:
        """Models that stay and use the claim."""
        return [
            model
            for key, model in self._models.items()
            if model.metadata.deletion_timestamp is None and place_of(key, model.spec).claim == claim
        ]

    def _places(self, namespace: str | None = None) -> list[Place]:
        wanted = self._models.items()
        return [place_of(key, model.spec) for key, model in wanted if namespace in {None, key.namespace}]


def _refusal(where: Place, order: Order) -> Stored | None:
    if order.kind is SourceKind.FILE:
        message = (
            "spec.source.file is for one machine; on Kubernetes put the file into a claim and leave spec.source out"
        )
        return Stored(Content.ABSENT, message=message)
    if is_reserved(where.path):
        return Stored(Content.REFUSED, message=f"storage.subPath {where.path} is for Arks itself; give another one")
    return None
