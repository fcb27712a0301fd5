"""What there is: claims, Jobs and pods that we made, by watch; claims that somebody else made, one by one by name."""

from collections.abc import Callable, Iterable

from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.kit.kube.api import Json, Kind, KubeApi
from arks.model_manager.adapters.kubernetes.manifests import MODEL_LABEL
from arks.model_manager.adapters.kubernetes.states import ClaimSeen, JobSeen, PodSeen, claim_seen, job_seen

CLAIM = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
JOB = Kind("batch", "v1", "Job", "jobs")
EVENT = Kind("", "v1", "Event", "events")
OURS = MODEL_LABEL
"""Label selector of claims and Jobs."""
OUR_PODS = f"{MODEL_LABEL},batch.kubernetes.io/job-name"
"""Pods of applications may carry the model's label too."""
_FRESH_SECONDS = 5.0
_REMEMBERED = 256

OnPlace = Callable[[str], None]


class Claims:
    """Ours are watched. Those of others are not ours to list: they are asked for by name, and remembered."""

    def __init__(self, api: KubeApi, watched: Cache[ClaimSeen], clock: Clock) -> None:
        self._api = api
        self._watched = watched
        self._clock = clock
        self._adopted: dict[Key, tuple[ClaimSeen, float]] = {}

    async def get(self, key: Key) -> ClaimSeen | None:
        """Raises ArksError."""
        if (ours := self._watched.get(key)) is not None:
            self._adopted.pop(key, None)
            return ours
        known = self._adopted.get(key)
        if known is not None and known[0].phase == "Bound" and self._clock.monotonic() - known[1] < _FRESH_SECONDS:
            return known[0]
        return (await self.look(key))[0]

    async def look(self, key: Key) -> tuple[ClaimSeen | None, bool]:
        """One that is not ours, and whether it has changed since it was looked at before. Raises ArksError."""
        before = self._adopted.pop(key, None)
        found = await self._api.get(CLAIM, key)
        seen = claim_seen(found) if found is not None else None
        if seen is not None:
            self._adopted[key] = seen, self._clock.monotonic()
        return seen, before is not None and before[0] != seen

    def adopted(self, used: Iterable[Key]) -> list[Key]:
        """Those in use of which we know; the others are forgotten."""
        wanted = set(used)
        self._adopted = {key: value for key, value in self._adopted.items() if key in wanted}
        return list(self._adopted)

    def put(self, obj: Json) -> None:
        """What we have just written: the watch says so a little later, unless it was faster and knows better."""
        key, seen = Key(obj["metadata"]["namespace"], obj["metadata"]["name"]), claim_seen(obj)
        known = self._watched.get(key)
        if known is None or known.version <= seen.version:
            self._watched.apply(key, seen)


class Jobs:
    """Jobs by place, pods by Job. `changed` is called with the place of each change."""

    def __init__(self, jobs: Cache[JobSeen], pods: Cache[PodSeen]) -> None:
        self.changed: OnPlace = lambda _: None
        self._jobs = jobs
        self._pods = pods
        self._place_of: dict[Key, str] = {}
        self._at: dict[str, set[Key]] = {}
        self._uid_of: dict[Key, str] = {}
        self._key_of: dict[str, Key] = {}
        self._job_of: dict[Key, str] = {}
        self._pods_of: dict[str, set[Key]] = {}
        self._ended: dict[str, None] = {}
        jobs.subscribe(self._job_changed)
        pods.subscribe(self._pod_changed)

    def of_place(self, place: str) -> list[JobSeen]:
        """Newest last."""
        found = (self._jobs.get(key) for key in self._at.get(place, ()))
        return sorted(
            (job for job in found if job is not None and job.uid not in self._ended), key=lambda job: job.created_at
        )

    def pod_of(self, job: JobSeen) -> PodSeen | None:
        """The newest, if there are several."""
        found = (self._pods.get(key) for key in self._pods_of.get(job.uid, ()))
        return max((pod for pod in found if pod is not None), key=lambda pod: pod.created_at, default=None)

    def running(self) -> list[tuple[PodSeen, str]]:
        """Pods whose worker runs, with their places."""
        running = [pod for pod in self._pods.values() if pod.running and pod.job_uid in self._key_of]
        return [(pod, self._place_of[self._key_of[pod.job_uid]]) for pod in running]

    def put(self, obj: Json) -> JobSeen | None:
        """What we have just written: the watch says so a little later, unless it was faster and knows better."""
        job = job_seen(obj)
        known = self._jobs.get(job.key) if job is not None else None
        if job is not None and (known is None or known.version <= job.version):
            self._jobs.apply(job.key, job)
        return job

    def ended(self, job: JobSeen) -> None:
        """We have deleted it: what the watch still says of it is old."""
        self._ended[job.uid] = None
        while len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def _job_changed(self, key: Key) -> None:
        job = self._jobs.get(key)
        before = self._place_of.pop(key, None)
        self._key_of.pop(self._uid_of.pop(key, ""), None)
        if before is not None:
            _discard(self._at, before, key)
        if job is not None:
            self._place_of[key] = job.place
            self._uid_of[key], self._key_of[job.uid] = job.uid, key
            self._at.setdefault(job.place, set()).add(key)
        for place in {before, job.place if job else None} - {None}:
            self.changed(str(place))

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
            self.changed(self._place_of[job_key])


def _discard(index: dict[str, set[Key]], name: str, key: Key) -> None:
    keys = index[name]
    keys.discard(key)
    if not keys:
        del index[name]
