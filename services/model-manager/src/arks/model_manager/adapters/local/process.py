"""Run download processes. The kernel kills them with the service, however that ends."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping

import structlog

from arks.kit.process import die_with_parent, end
from arks.kit.telemetry import redact
from arks.model_manager.domain.failures import Failure, FailureKind
from arks.model_manager.domain.protocol import Report, Request, report_from_json, request_to_json

log = structlog.get_logger(__name__)

COMMAND = (sys.executable, "-m", "arks.model_manager.programs.download")
GRACE_SECONDS = 1.0
_KEPT_ERROR_BYTES = 4096
_PASSED_ON = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHONPATH", "VIRTUAL_ENV"}
    | {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"}
)
"""The only environment variables that downloads get: no secrets of the service."""

OnReport = Callable[[Report], None]


class DownloadProcesses:
    def __init__(self, environment: Mapping[str, str], *, silence_seconds: float) -> None:
        """`environment`: of the service. `silence_seconds`: a process without a report for this long is killed."""
        self._environment = {name: value for name, value in environment.items() if name in _PASSED_ON}
        self._silence_seconds = silence_seconds

    async def run(self, request: Request, on_report: OnReport) -> Failure | None:
        """Run one process to its end. None if it has done the request. A cancelled call kills the process."""
        try:
            return await self._run(request, on_report)
        except OSError as error:
            return Failure(FailureKind.CRASHED, f"the download process could not be started: {error.strerror}")
        except ValueError:  # a line without end
            return Failure(FailureKind.CRASHED, "the download process wrote something that is no report")

    async def _run(self, request: Request, on_report: OnReport) -> Failure | None:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            preexec_fn=die_with_parent(os.getpid(), signal.SIGKILL),  # only async-signal-safe calls
        )
        errors = asyncio.create_task(_tail(process), name=f"stderr of download {process.pid}")
        try:
            await _send(process, request)
            last = await self._read_reports(process, on_report)
            with contextlib.suppress(TimeoutError):  # its output has ended: it is about to exit
                async with asyncio.timeout(GRACE_SECONDS):
                    await process.wait()
            status = await end(process, grace_seconds=GRACE_SECONDS)
            return _failure_of(last, status, await errors)
        finally:
            await end(process, grace_seconds=GRACE_SECONDS)
            errors.cancel()

    async def _read_reports(self, process: asyncio.subprocess.Process, on_report: OnReport) -> Report | Failure | None:
        """The last report, or a failure after a silence. Raises ValueError after a line without end."""
        assert process.stdout is not None  # noqa: S101  # a pipe
        last: Report | None = None
        while True:
            try:
                async with asyncio.timeout(self._silence_seconds):
                    line = await process.stdout.readline()
            except TimeoutError:
                process.kill()
                message = f"the download process reported nothing for {self._silence_seconds:g} s"
                return Failure(FailureKind.CRASHED, message)
            if not line:
                return last
            try:
                last = report_from_json(line)
            except ValueError:
                log.warning("not a report", process=process.pid, line=redact(line.decode("utf-8", "replace")))
                continue
            on_report(last)


async def _send(process: asyncio.subprocess.Process, request: Request) -> None:
    assert process.stdin is not None  # noqa: S101  # a pipe
    with contextlib.suppress(ConnectionError):  # the process has died: its output ends then
        process.stdin.write(request_to_json(request))
        await process.stdin.drain()
        process.stdin.close()


async def _tail(process: asyncio.subprocess.Process) -> bytes:
    """The end of stderr, which is read continuously so that the process never blocks."""
    assert process.stderr is not None  # noqa: S101  # a pipe
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
