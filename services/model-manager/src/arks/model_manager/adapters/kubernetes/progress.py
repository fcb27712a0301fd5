"""Progress of workers: the last lines of their logs, polled while they run.

Reading logs requires no connection between a tenant's pods and Arks, no service account in the pod, and no permission
of the pod to write objects. One task polls all workers; with many of them it polls less often, so that requests do not
pile up.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from prometheus_client import Counter

from arks.contracts.resources import DownloadProgress
from arks.kit.errors import ArksError
from arks.kit.kube.api import KubeApi
from arks.model_manager.adapters.kubernetes.interpretation import report_in
from arks.model_manager.adapters.kubernetes.manifests import CONTAINER
from arks.model_manager.adapters.kubernetes.objects import Jobs
from arks.model_manager.adapters.kubernetes.states import ObservedPod
from arks.model_manager.domain.progress import Sample, add_sample, progress_of

log = structlog.get_logger(__name__)

_LINES = 5
"""More than one, because the last line may not be a report."""
_MAX_REQUESTS = 8


@dataclass(slots=True)
class _WorkerProgress:
    samples: tuple[Sample, ...]
    total_bytes: int


class WorkerProgress:
    def __init__(self, api: KubeApi, jobs: Jobs, read_bytes: Counter, *, seconds: float) -> None:
        """`seconds`: polling interval."""
        self.changed: Callable[[str], None] = lambda _: None
        """Called with the storage path of a worker that progressed."""
        self._api = api
        self._jobs = jobs
        self._bytes = read_bytes
        self._seconds = seconds
        self._workers: dict[str, _WorkerProgress] = {}
        """By the uid of the pod."""
        self._wanted = asyncio.Event()

    def of(self, pod: ObservedPod | None) -> DownloadProgress:
        """Progress of a pod's worker as of the last poll."""
        worker = self._workers.get(pod.uid) if pod is not None else None
        return DownloadProgress() if worker is None else progress_of(worker.samples, worker.total_bytes)

    def want(self) -> None:
        """Start to poll, because a model with a running worker is reconciled. A standby replica never polls."""
        self._wanted.set()

    async def run(self) -> None:
        limit = asyncio.Semaphore(_MAX_REQUESTS)
        while True:
            await self._wanted.wait()
            running = self._jobs.running()
            self._forget_others({pod.uid for pod, _ in running})
            if not running:
                self._wanted.clear()
                continue
            async with asyncio.TaskGroup() as group:
                for pod, storage_path in running:
                    group.create_task(self._poll(pod, storage_path, limit))
            await asyncio.sleep(self._seconds)

    async def _poll(self, pod: ObservedPod, storage_path: str, limit: asyncio.Semaphore) -> None:
        async with limit:
            try:
                report = report_in(await self._api.log_tail(pod.key, CONTAINER, _LINES))
            except ArksError as error:
                log.info("progress not read", pod=str(pod.key), error=str(error))
                return
        if report is not None:
            self._add(pod, storage_path, *report)

    def _add(self, pod: ObservedPod, storage_path: str, sample: Sample, total_bytes: int) -> None:
        worker = self._workers.get(pod.uid)
        if worker is None:
            self._workers[pod.uid] = _WorkerProgress((sample,), total_bytes)
        elif sample.at_seconds > worker.samples[-1].at_seconds:
            self._bytes.inc(max(0, sample.done_bytes - worker.samples[-1].done_bytes))
            worker.samples, worker.total_bytes = add_sample(worker.samples, sample), total_bytes
        else:
            return
        self.changed(storage_path)

    def _forget_others(self, running: set[str]) -> None:
        self._workers = {uid: worker for uid, worker in self._workers.items() if uid in running}
