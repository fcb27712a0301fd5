"""The download process of one machine: `python -m arks.model_manager.programs.download`.

It reads one request from stdin, writes reports to stdout and exits. A process of its own keeps the service small and
responsive while gigabytes are hashed. A kill at any moment costs nothing: files move into place when they are whole and
checked, and partial ones are resumed where they end.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from arks.model_manager.domain.failures import DownloadFailed
from arks.model_manager.domain.protocol import CheckRequest, Report, Request, report_to_json, request_from_json
from arks.model_manager.programs.byte_counter import ByteCounter
from arks.model_manager.programs.file_check import check_file

REPORT_SECONDS = 0.25
HEARTBEAT_SECONDS = 5.0
HUB_LIBRARY = {
    "HF_HUB_DISABLE_XET": "1",  # its own protocol and cache: neither resumes where we do
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
"""Environment of the hub's library, which reads it when it is imported."""

Send = Callable[[Report], None]


def run(request: Request, send: Send, report_seconds: float = REPORT_SECONDS) -> Report:
    """Carry out the request and report progress. Returns the last report, which holds the result."""
    counter = ByteCounter()
    ended = threading.Event()
    reporter = threading.Thread(target=_report_progress, args=(counter, send, ended, report_seconds), daemon=True)
    reporter.start()
    failure: DownloadFailed | None = None
    try:
        _carry_out(request, counter)
    except DownloadFailed as error:
        failure = error
    ended.set()
    reporter.join()
    last = counter.report()
    if failure is None:
        last = Report(last.done_bytes, last.total_bytes, done=True)
    else:
        last = Report(last.done_bytes, last.total_bytes, failure=failure.kind, message=str(failure))
    send(last)
    return last


def _carry_out(request: Request, counter: ByteCounter) -> None:
    if isinstance(request, CheckRequest):
        check_file(request, counter)
        return
    from arks.model_manager.programs.repository import download_repository  # noqa: PLC0415  # a check needs no hub

    download_repository(request, counter)


def _report_progress(counter: ByteCounter, send: Send, ended: threading.Event, report_seconds: float) -> None:
    """Report changes, and the same report every few seconds as a sign of life."""
    last, sent_at = Report(), float("-inf")
    while not ended.wait(report_seconds):
        report, now = counter.report(), time.monotonic()
        if report != last or now - sent_at > HEARTBEAT_SECONDS:
            send(report)
            last, sent_at = report, now


def sender(output: TextIO) -> Send:
    """Writes reports as JSON lines, from any thread."""
    lock = threading.Lock()

    def send(report: Report) -> None:
        with lock:
            output.write(report_to_json(report) + "\n")
            output.flush()

    return send


def main() -> int:
    os.environ.update(HUB_LIBRARY)
    request = request_from_json(sys.stdin.buffer.read())
    return 0 if run(request, sender(sys.stdout)).done else 1


if __name__ == "__main__":
    sys.exit(main())
