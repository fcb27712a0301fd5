"""Queue of downloads on one machine: one per storage path, a few at once, the others in turn."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from prometheus_client import CollectorRegistry

from arks.kit.clock import Clock
from arks.kit.tracing import NoTracer, Tracer, Value
from arks.model_manager.adapters.local.process import DownloadProcesses
from arks.model_manager.adapters.metrics import DownloadMetrics
from arks.model_manager.domain.failures import Failure
from arks.model_manager.domain.observation import Download, DownloadState
from arks.model_manager.domain.progress import Sample, add_sample, progress_of
from arks.model_manager.domain.protocol import Report, Request

log = structlog.get_logger(__name__)


@dataclass
class _Job:
    request: Request
    fingerprint: str
    state: DownloadState = DownloadState.WAITING
    samples: tuple[Sample, ...] = ()
    total_bytes: int | None = None
    failure: Failure | None = None
    failures: int = 0
    best_bytes: int = 0
    """The most bytes that any attempt reached."""
    ended_at: datetime | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def done_bytes(self) -> int:
        return self.samples[-1].done_bytes if self.samples else 0

    def fail(self, failure: Failure, now: datetime) -> None:
        progressed = self.done_bytes > self.best_bytes
        self.best_bytes = max(self.best_bytes, self.done_bytes)
        self.failures = 1 if progressed else self.failures + 1
        self.state, self.failure, self.ended_at = DownloadState.FAILED, failure, now


class Downloads:
    def __init__(
        self,
        processes: DownloadProcesses,
        clock: Clock,
        registry: CollectorRegistry,
        *,
        limit: int,
        tracer: Tracer | None = None,
    ) -> None:
        """`limit`: running downloads at once."""
        self.changed: Callable[[str], None] = lambda _: None
        """Called with a storage path whenever its download's state or progress changes."""
        self._processes = processes
        self._clock = clock
        self._limit = limit
        self._tracer = tracer or NoTracer()
        self._jobs: dict[str, _Job] = {}
        self._closed = False
        self._metrics = DownloadMetrics(registry, lambda: float(self._running))

    def get(self, storage_path: str) -> Download | None:
        job = self._jobs.get(storage_path)
        if job is None:
            return None
        return Download(
            fingerprint=job.fingerprint,
            state=job.state,
            progress=progress_of(job.samples, job.total_bytes),
            failure=job.failure,
            failures=job.failures,
            ended_at=job.ended_at,
        )

    def start(self, storage_path: str, request: Request, fingerprint: str) -> None:
        """Start or queue a download, unless one runs. The caller stops a download of another source first."""
        before = self._jobs.get(storage_path)
        if before is not None and before.state is not DownloadState.FAILED:
            return
        job = _Job(request, fingerprint)
        if before is not None and before.fingerprint == fingerprint:
            job.failures, job.best_bytes = before.failures, before.best_bytes
        self._jobs[storage_path] = job
        self._start_waiting()

    async def stop(self, storage_path: str) -> None:
        """Stop the path's download and forget it."""
        job = self._jobs.pop(storage_path, None)
        if job is not None and job.task is not None and not job.task.done():
            job.task.cancel()
            await asyncio.wait([job.task])
        self._start_waiting()

    async def close(self) -> None:
        """Stop every download; the next start of the service continues them."""
        self._closed = True
        for storage_path in list(self._jobs):
            await self.stop(storage_path)

    @property
    def _running(self) -> int:
        return sum(job.state is DownloadState.RUNNING for job in self._jobs.values())

    def _start_waiting(self) -> None:
        """Start queued downloads up to the limit, oldest first."""
        for storage_path, job in list(self._jobs.items()):
            if self._closed or self._running >= self._limit:
                return
            if job.state is DownloadState.WAITING:
                job.state = DownloadState.RUNNING
                job.task = asyncio.create_task(self._run(storage_path, job), name=f"download {storage_path}")

    async def _run(self, storage_path: str, job: _Job) -> None:
        began_at = self._clock.now()
        failure = await self._processes.run(job.request, lambda report: self._add_report(storage_path, job, report))
        self._trace(storage_path, job, began_at, failure)
        if failure is None:
            self._jobs.pop(storage_path, None)
        else:
            job.fail(failure, self._clock.now())
            self._metrics.failed.labels(failure.kind).inc()
            log.warning("download failed", storage_path=storage_path, kind=failure.kind, reason=failure.message)
        self._start_waiting()
        self.changed(storage_path)

    def _trace(self, storage_path: str, job: _Job, began_at: datetime, failure: Failure | None) -> None:
        kind = None if failure is None else str(failure.kind)
        attributes: dict[str, Value] = {"arks.storage_path": storage_path, "arks.bytes": job.done_bytes}
        self._tracer.record("download", attributes, began_at=began_at, ended_at=self._clock.now(), failure=kind)

    def _add_report(self, storage_path: str, job: _Job, report: Report) -> None:
        if job.samples:
            self._metrics.read_bytes.inc(max(0, report.done_bytes - job.done_bytes))
        if report.total_bytes is None:
            return  # the hub has not listed its files yet
        job.total_bytes = report.total_bytes
        job.samples = add_sample(job.samples, Sample(self._clock.monotonic(), report.done_bytes))
        self.changed(storage_path)
