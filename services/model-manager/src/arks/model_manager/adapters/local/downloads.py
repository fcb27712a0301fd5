"""Download processes: one a place, a few at once, the others in turn. They die with us, however we die."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from prometheus_client import CollectorRegistry

from arks.kit.clock import Clock
from arks.kit.process import die_with_parent, end
from arks.kit.telemetry import redact
from arks.model_manager.adapters.metrics import LoadMetrics
from arks.model_manager.domain.observation import Failure, Loading, LoadState
from arks.model_manager.domain.progress import Sample, progress_of, sampled
from arks.model_manager.domain.protocol import FailureKind, Report, Request, report_from_json, request_to_json

log = structlog.get_logger(__name__)

COMMAND = (sys.executable, "-m", "arks.model_manager.programs.download")
GRACE_SECONDS = 1.0
_KEPT_ERROR_BYTES = 4096
_PASSED_ON = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHONPATH", "VIRTUAL_ENV"}
    | {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"}
)
"""Nothing else of our environment concerns a download: least of all our secrets."""


@dataclass
class _Job:
    request: Request
    fingerprint: str
    state: LoadState = LoadState.WAITING
    samples: tuple[Sample, ...] = ()
    total_bytes: int | None = None
    failure: Failure | None = None
    failures: int = 0
    best_bytes: int = 0
    """The farthest that any try has come."""
    ended_at: datetime | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    @property
    def done_bytes(self) -> int:
        return self.samples[-1].done_bytes if self.samples else 0


class Loads:
    def __init__(
        self,
        clock: Clock,
        registry: CollectorRegistry,
        environment: Mapping[str, str],
        *,
        limit: int,
        silence_seconds: float,
    ) -> None:
        """`environment`: ours, of which what concerns a download is passed on."""
        self.changed: Callable[[str], None] = lambda _: None
        """Called with the place whenever its state or progress changes."""
        self._clock = clock
        self._environment = {name: value for name, value in environment.items() if name in _PASSED_ON}
        self._limit = limit
        self._silence_seconds = silence_seconds
        self._jobs: dict[str, _Job] = {}
        self._closed = False
        self._metrics = LoadMetrics(registry, lambda: float(self._running))

    def state(self, place: str) -> Loading | None:
        job = self._jobs.get(place)
        if job is None:
            return None
        return Loading(
            fingerprint=job.fingerprint,
            state=job.state,
            progress=progress_of(job.samples, job.total_bytes),
            failure=job.failure,
            failures=job.failures,
            ended_at=job.ended_at,
        )

    def process_id(self, place: str) -> int | None:
        """Of the process that works on the place."""
        job = self._jobs.get(place)
        return job.process.pid if job and job.process else None

    def start(self, place: str, request: Request, fingerprint: str) -> None:
        """Begin, or wait for a turn. Call `stop` first when another order is under way."""
        before = self._jobs.get(place)
        if before is not None and before.state is not LoadState.FAILED:
            return
        job = _Job(request, fingerprint)
        if before is not None and before.fingerprint == fingerprint:
            job.failures, job.best_bytes = before.failures, before.best_bytes
        self._jobs[place] = job
        self._next()

    async def stop(self, place: str) -> None:
        """End what is under way and forget it."""
        job = self._jobs.pop(place, None)
        if job is not None and job.task is not None and not job.task.done():
            job.task.cancel()
            await asyncio.wait([job.task])
        self._next()

    async def close(self) -> None:
        """End every process; the next start of the service continues where they were."""
        self._closed = True
        for place in list(self._jobs):
            await self.stop(place)

    # --- turns

    @property
    def _running(self) -> int:
        return sum(job.state is LoadState.RUNNING for job in self._jobs.values())

    def _next(self) -> None:
        """Give free turns to those that wait, the longest waiting first."""
        for place, job in list(self._jobs.items()):
            if self._closed or self._running >= self._limit:
                return
            if job.state is LoadState.WAITING:
                job.state = LoadState.RUNNING
                job.task = asyncio.create_task(self._work(place, job), name=f"download {place}")

    async def _work(self, place: str, job: _Job) -> None:
        try:
            failure = await self._run(place, job)
        except OSError as error:
            failure = Failure(FailureKind.CRASHED, f"the download process could not be started: {error.strerror}")
        except ValueError:  # a line without end
            failure = Failure(FailureKind.CRASHED, "the download process said something that is no report")
        if failure is None:
            self._jobs.pop(place, None)
        else:
            progressed = job.done_bytes > job.best_bytes
            job.best_bytes = max(job.best_bytes, job.done_bytes)
            job.failures = 1 if progressed else job.failures + 1
            job.state, job.failure, job.ended_at = LoadState.FAILED, failure, self._clock.now()
            self._metrics.failed.labels(failure.kind).inc()
            log.warning("download failed", place=place, kind=failure.kind, reason=failure.message)
        self._next()
        self.changed(place)

    # --- one process

    async def _run(self, place: str, job: _Job) -> Failure | None:
        """Run the process to its end. None when it has done everything. Raises OSError when it cannot start."""
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            preexec_fn=die_with_parent(os.getpid(), signal.SIGKILL),  # only async-signal-safe calls
        )
        job.process = process
        errors = asyncio.create_task(_tail(process), name=f"download {place} stderr")
        try:
            last = await self._follow(place, job, process)
            with contextlib.suppress(TimeoutError):  # its output has ended: it is about to end by itself
                async with asyncio.timeout(GRACE_SECONDS):
                    await process.wait()
            status = await end(process, grace_seconds=GRACE_SECONDS)
            return _failure_of(last, status, await errors)
        finally:
            job.process = None
            await end(process, grace_seconds=GRACE_SECONDS)
            errors.cancel()

    async def _follow(self, place: str, job: _Job, process: asyncio.subprocess.Process) -> Report | Failure | None:
        """Read reports until the last one. A failure of ours when the process falls silent."""
        assert process.stdin is not None and process.stdout is not None  # noqa: S101  # asked for above
        with contextlib.suppress(ConnectionError):  # it died already: the end of its output says so
            process.stdin.write(request_to_json(job.request))
            await process.stdin.drain()
            process.stdin.close()
        last: Report | None = None
        while True:
            try:
                async with asyncio.timeout(self._silence_seconds):
                    line = await process.stdout.readline()
            except TimeoutError:
                process.kill()
                message = f"the download process said nothing for {self._silence_seconds:g} s"
                return Failure(FailureKind.CRASHED, message)
            if not line:
                return last
            try:
                last = report_from_json(line)
            except ValueError:
                log.warning(
                    "download process said something else", place=place, line=redact(line.decode("utf-8", "replace"))
                )
                continue
            self._take(place, job, last)

    def _take(self, place: str, job: _Job, report: Report) -> None:
        if job.samples:
            self._metrics.read_bytes.inc(max(0, report.done_bytes - job.done_bytes))
        if report.total_bytes is None:
            return  # not listed yet: nothing to show
        job.total_bytes = report.total_bytes
        job.samples = sampled(job.samples, Sample(self._clock.monotonic(), report.done_bytes))
        self.changed(place)


async def _tail(process: asyncio.subprocess.Process) -> bytes:
    """The end of what the process says on stderr, which is read so that it never blocks."""
    assert process.stderr is not None  # noqa: S101  # asked for above
    kept = b""
    while block := await process.stderr.read(_KEPT_ERROR_BYTES):
        kept = (kept + block)[-_KEPT_ERROR_BYTES:]
    return kept


def _failure_of(last: Report | Failure | None, status: int, errors: bytes) -> Failure | None:
    if isinstance(last, Failure):
        return last
    if last is not None and last.done:
        return None
    if last is not None and last.failure is not None:
        return Failure(last.failure, redact(last.message))
    lines = redact(errors.decode("utf-8", "replace")).strip().splitlines()
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return Failure(FailureKind.CRASHED, f"the download process ended with {how}{': ' + lines[-1] if lines else ''}")
