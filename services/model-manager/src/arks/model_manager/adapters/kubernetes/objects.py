"""Current PVCs, Jobs and pods: those of Arks by watch, PVCs of users one by one by name."""

from collections.abc import Callable, Iterable

from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi, key_of_object
from arks.kit.kube.kinds import Kind
from arks.kit.types import Json
from arks.model_manager.adapters.kubernetes.manifests import MODEL_LABEL
from arks.model_manager.adapters.kubernetes.states import ObservedJob, ObservedPod, ObservedPvc, parse_job, parse_pvc

PVC = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
JOB = Kind("batch", "v1", "Job", "jobs")
OURS = MODEL_LABEL
"""Label selector of PVCs and Jobs."""
OUR_PODS = f"{MODEL_LABEL},batch.kubernetes.io/job-name"
"""Pods of applications may have the model's label too."""
_FRESH_SECONDS = 5.0
_MAX_DELETED = 256


class Pvcs:
    """PVCs of Arks are watched. Those of users, which Arks may not list, are queried by name and remembered."""

    def __init__(self, api: KubeApi, watched: Cache[ObservedPvc], clock: Clock) -> None:
        self._api = api
        self._watched = watched
        self._clock = clock
        self._adopted: dict[Key, tuple[ObservedPvc, float]] = {}
        """With the time of the last query."""

    async def get(self, key: Key) -> ObservedPvc | None:
        """Raises ArksError."""
        if (watched := self._watched.get(key)) is not None:
            self._adopted.pop(key, None)
            return watched
        known = self._adopted.get(key)
        if known is not None and known[0].phase == "Bound" and self._clock.monotonic() - known[1] < _FRESH_SECONDS:
            return known[0]
        return (await self.query(key))[0]

    async def query(self, key: Key) -> tuple[ObservedPvc | None, bool]:
        """A PVC of a user, and whether it has changed since the last query. Raises ArksError."""
        before = self._adopted.pop(key, None)
        found = await self._api.get(PVC, key)
        pvc = parse_pvc(found) if found is not None else None
        if pvc is not None:
            self._adopted[key] = pvc, self._clock.monotonic()
        return pvc, before is not None and before[0] != pvc

    def adopted(self, used: Iterable[Key]) -> list[Key]:
        """PVCs of users that models use; forgets the others."""
        keys = set(used)
        self._adopted = {key: value for key, value in self._adopted.items() if key in keys}
        return list(self._adopted)

    def put(self, obj: Json) -> None:
        """Take over a PVC that was just written, unless the watch has a newer version."""
        key, pvc = key_of_object(obj), parse_pvc(obj)
        known = self._watched.get(key)
        if known is None or known.version <= pvc.version:
            self._watched.apply(key, pvc)


class Jobs:
    """Jobs by storage path, pods by Job."""

    def __init__(self, jobs: Cache[ObservedJob], pods: Cache[ObservedPod]) -> None:
        self.changed: Callable[[str], None] = lambda _: None
        """Called with the storage path of each change."""
        self._jobs = jobs
        self._pods = pods
        self._path_of: dict[Key, str] = {}
        self._at: dict[str, set[Key]] = {}
        self._uid_of: dict[Key, str] = {}
        self._key_of: dict[str, Key] = {}
        self._job_of: dict[Key, str] = {}
        self._pods_of: dict[str, set[Key]] = {}
        self._deleted: dict[str, None] = {}
        jobs.subscribe(self._job_changed)
        pods.subscribe(self._pod_changed)

    def at_path(self, storage_path: str) -> list[ObservedJob]:
        """Newest last."""
        found = (self._jobs.get(key) for key in self._at.get(storage_path, ()))
        jobs = (job for job in found if job is not None and job.uid not in self._deleted)
        return sorted(jobs, key=lambda job: job.created_at)

    def pod_of(self, job: ObservedJob) -> ObservedPod | None:
        """The Job's newest pod."""
        found = (self._pods.get(key) for key in self._pods_of.get(job.uid, ()))
        return max((pod for pod in found if pod is not None), key=lambda pod: pod.created_at, default=None)

    def running(self) -> list[tuple[ObservedPod, str]]:
        """Pods with a running worker, and their storage paths."""
        running = [pod for pod in self._pods.values() if pod.running and pod.job_uid in self._key_of]
        return [(pod, self._path_of[self._key_of[pod.job_uid]]) for pod in running]

    def put(self, obj: Json) -> None:
        """Take over a Job that was just written, unless the watch has a newer version."""
        job = parse_job(obj)
        known = self._jobs.get(job.key) if job is not None else None
        if job is not None and (known is None or known.version <= job.version):
            self._jobs.apply(job.key, job)

    def deleted(self, job: ObservedJob) -> None:
        """Hide a Job that was just deleted, until the watch reports that."""
        self._deleted[job.uid] = None
        while len(self._deleted) > _MAX_DELETED:
            del self._deleted[next(iter(self._deleted))]

    def _job_changed(self, key: Key) -> None:
        job = self._jobs.get(key)
        before = self._path_of.pop(key, None)
        self._key_of.pop(self._uid_of.pop(key, ""), None)
        if before is not None:
            _discard(self._at, before, key)
        if job is not None:
            self._path_of[key] = job.storage_path
            self._uid_of[key], self._key_of[job.uid] = job.uid, key
            self._at.setdefault(job.storage_path, set()).add(key)
        for storage_path in {before, job.storage_path if job else None} - {None}:
            self.changed(str(storage_path))

    def _pod_changed(self, key: Key) -> None:
        pod = self._pods.get(key)
        before = self._job_of.pop(key, None)
        if before is not None:
            _discard(self._pods_of, before, key)
        if pod is not None:
            self._job_of[key] = pod.job_uid
            self._pods_of.setdefault(pod.job_uid, set()).add(key)
        job_key = self._key_of.get(pod.job_uid if pod is not None else before or "")
        if job_key is not None:
            self.changed(self._path_of[job_key])


def _discard(index: dict[str, set[Key]], name: str, key: Key) -> None:
    keys = index[name]
    keys.discard(key)
    if not keys:
        del index[name]
