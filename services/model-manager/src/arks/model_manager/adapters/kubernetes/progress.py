"""How far workers are: the last lines of their logs, read every few seconds while they run.

The log takes no connection between a tenant's pods and ours, no account in the pod, and no place where the pod could
write anything else. One task reads all of them; with many the pace slows down instead of the requests piling up.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from prometheus_client import Counter

from arks.contracts.resources import DownloadProgress
from arks.kit.errors import ArksError
from arks.kit.kube.api import KubeApi
from arks.model_manager.adapters.kubernetes.manifests import CONTAINER
from arks.model_manager.adapters.kubernetes.objects import Jobs
from arks.model_manager.adapters.kubernetes.states import PodSeen, report_in
from arks.model_manager.domain.progress import Sample, progress_of, sampled

log = structlog.get_logger(__name__)

_LINES = 5
"""More than one: something else may have been said last."""
_AT_ONCE = 8


@dataclass(slots=True)
class _Read:
    samples: tuple[Sample, ...]
    total_bytes: int


class Progress:
    def __init__(self, api: KubeApi, jobs: Jobs, read_bytes: Counter, *, seconds: float) -> None:
        self.changed: Callable[[str], None] = lambda _: None
        """Called with the place that came further."""
        self._api = api
        self._jobs = jobs
        self._bytes = read_bytes
        self._seconds = seconds
        self._read: dict[str, _Read] = {}
        self._wanted = asyncio.Event()

    def of(self, pod: PodSeen | None) -> DownloadProgress:
        """Of a pod's worker, as far as it was read."""
        read = self._read.get(pod.uid) if pod is not None else None
        return DownloadProgress() if read is None else progress_of(read.samples, read.total_bytes)

    def want(self) -> None:
        """Somebody looks at running workers: before that nothing is read, as in a replica that only stands by."""
        self._wanted.set()

    async def run(self) -> None:
        limit = asyncio.Semaphore(_AT_ONCE)
        while True:
            await self._wanted.wait()
            running = self._jobs.running()
            self._forget({pod.uid for pod, _ in running})
            if not running:
                self._wanted.clear()
                continue
            async with asyncio.TaskGroup() as group:
                for pod, place in running:
                    group.create_task(self._look(pod, place, limit))
            await asyncio.sleep(self._seconds)

    async def _look(self, pod: PodSeen, place: str, limit: asyncio.Semaphore) -> None:
        async with limit:
            try:
                said = report_in(await self._api.log_tail(pod.key, CONTAINER, _LINES))
            except ArksError as error:
                log.info("progress not read", pod=str(pod.key), error=str(error))
                return
        if said is not None:
            self._take(pod, place, *said)

    def _take(self, pod: PodSeen, place: str, sample: Sample, total_bytes: int) -> None:
        read = self._read.get(pod.uid)
        if read is None:
            self._read[pod.uid] = _Read((sample,), total_bytes)
        elif sample.at_seconds > read.samples[-1].at_seconds:
            self._bytes.inc(max(0, sample.done_bytes - read.samples[-1].done_bytes))
            read.samples, read.total_bytes = sampled(read.samples, sample), total_bytes
        else:
            return
        self.changed(place)

    def _forget(self, running: set[str]) -> None:
        self._read = {uid: read for uid, read in self._read.items() if uid in running}
