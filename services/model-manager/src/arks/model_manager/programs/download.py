"""The download process: `python -m arks.model_manager.programs.download`. One request on stdin, reports on stdout.

A process of its own, so that the service stays small and answers while gigabytes are hashed, and so that a kill at any
moment costs nothing: whole files are checked and moved into place, half ones are continued where they end.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TextIO

from arks.model_manager.adapters import marker
from arks.model_manager.domain.protocol import (
    CheckRequest,
    FailureKind,
    HubRequest,
    LoadFailed,
    Report,
    Request,
    report_to_json,
    request_from_json,
)

if TYPE_CHECKING:
    from arks.model_manager.programs.hub import Hub, RemoteFile

REPORT_SECONDS = 0.25
HEARTBEAT_SECONDS = 5.0
LOCK_SECONDS = 10.0
"""The process before us dies with its parent, but not in the same instant."""
TRIES_PER_FILE = 2
_BLOCK_BYTES = 1 << 20

FreeBytes = Callable[[Path], int]
Send = Callable[[Report], None]


def free_bytes(directory: Path) -> int:
    return shutil.disk_usage(directory).free


class Progress:
    """Counts bytes of many files from many threads."""

    def __init__(self) -> None:
        self.total_bytes: int | None = None
        self.stopped = False
        self._positions: dict[str, int] = {}
        self._lock = threading.Lock()

    def at(self, path: str, position: int) -> None:
        """Raises LoadFailed when the work is to stop."""
        if self.stopped:
            raise LoadFailed(FailureKind.NETWORK, "stopped")
        with self._lock:
            self._positions[path] = position

    def report(self) -> Report:
        with self._lock:
            return Report(done_bytes=sum(self._positions.values()), total_bytes=self.total_bytes)


# --- a repository


def load(request: HubRequest, progress: Progress, free: FreeBytes = free_bytes) -> None:
    """Make the directory hold what the request names, whole and checked, and mark it complete. Raises LoadFailed."""
    from arks.model_manager.programs.hub import Hub, disk_failed  # noqa: PLC0415  # a check of a local file does without the library

    directory = Path(request.directory)
    try:
        marker.partial_directory(directory).mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            stack.enter_context(_locked(marker.lock_file(directory)))
            hub = stack.enter_context(contextlib.closing(Hub(request)))
            listing = hub.listing()
            _refuse_unsafe(request, listing.files)
            marker.retire_complete(directory)
            loader = _Loader(directory, hub, listing.revision, progress)
            loader.begin(listing.files)
            _need_space(directory, loader.missing_bytes(listing.files), request.reserve_bytes, free)
            files = loader.run(listing.files, request.connections)
            _finish(directory, marker.Complete(request.fingerprint, listing.revision, files))
    except OSError as error:
        raise disk_failed(error, request.directory) from error


class _Loader:
    def __init__(self, directory: Path, hub: "Hub", revision: str, progress: Progress) -> None:
        self._directory = directory
        self._hub = hub
        self._revision = revision
        self._progress = progress
        previous = marker.read_previous(directory)
        self._known = {file.path: file for file in previous.files} if previous else {}

    def begin(self, files: Sequence["RemoteFile"]) -> None:
        self._progress.total_bytes = sum(file.size_bytes for file in files)
        for file in files:
            self._progress.at(file.path, self._here_bytes(file))

    def missing_bytes(self, files: Sequence["RemoteFile"]) -> int:
        return sum(file.size_bytes - self._here_bytes(file) for file in files)

    def run(self, files: Sequence["RemoteFile"], connections: int) -> tuple[marker.StoredFile, ...]:
        """All files, some at a time. The first failure stops the others."""
        with ThreadPoolExecutor(connections) as pool:
            futures = [pool.submit(self._ensure, file) for file in files]
            wait(futures, return_when=FIRST_EXCEPTION)
            broken = [future for future in futures if future.done() and future.exception() is not None]
            if broken:
                self._progress.stopped = True
                for future in futures:
                    future.cancel()
                broken[0].result()
            return tuple(future.result() for future in futures)

    def _ensure(self, file: "RemoteFile") -> marker.StoredFile:
        target = self._directory / file.path
        if self._is_good(target, file):
            self._progress.at(file.path, file.size_bytes)
        else:
            self._fetch(target, file)
        state = target.stat()
        return marker.StoredFile(file.path, state.st_size, state.st_mtime_ns, file.sha256, file.git_sha1)

    def _fetch(self, target: Path, file: "RemoteFile") -> None:
        partial = self._partial(file)
        wrong = ""
        for _ in range(TRIES_PER_FILE):
            self._hub.fetch(file, self._revision, partial, lambda position: self._progress.at(file.path, position))
            wrong = difference(partial, file)
            if not wrong:
                target.parent.mkdir(parents=True, exist_ok=True)
                _sync(partial)
                partial.replace(target)
                return
            partial.unlink()
        raise LoadFailed(FailureKind.CORRUPT, f"the hub's {file.path} arrived damaged {TRIES_PER_FILE} times: {wrong}")

    def _is_good(self, target: Path, file: "RemoteFile") -> bool:
        """Whether the file is there with the right content: as remembered if it was not touched since, else hashed."""
        if not target.is_file() or target.is_symlink():
            return False
        state = target.stat()
        known = self._known.get(file.path)
        untouched = known and (known.size_bytes, known.modified_ns) == (state.st_size, state.st_mtime_ns)
        if known and untouched and (known.sha256, known.git_sha1) == (file.sha256, file.git_sha1):
            return state.st_size == file.size_bytes
        return not difference(target, file)

    def _here_bytes(self, file: "RemoteFile") -> int:
        for path in (self._directory / file.path, self._partial(file)):
            if path.is_file():
                size = path.stat().st_size
                if size == file.size_bytes or path.suffix == ".part":
                    return min(size, file.size_bytes)
        return 0

    def _partial(self, file: "RemoteFile") -> Path:
        """Named after the content too: the beginning of another version is of no use."""
        content = file.sha256 or file.git_sha1 or self._revision
        name = hashlib.sha256(f"{file.path}\n{content}\n{file.size_bytes}".encode()).hexdigest()[:32]
        return marker.partial_directory(self._directory) / f"{name}.part"


def _refuse_unsafe(request: HubRequest, files: Sequence["RemoteFile"]) -> None:
    if not files:
        reason = "has no files" if not (request.allow_patterns or request.ignore_patterns) else "has none that match"
        raise LoadFailed(FailureKind.INVALID, f"{request.repository} ({request.revision}) {reason}: nothing to load")
    for file in files:
        parts = PurePosixPath(file.path).parts
        if file.path.startswith("/") or ".." in parts or "\0" in file.path or parts[0] == marker.ARKS_DIRECTORY:
            raise LoadFailed(
                FailureKind.INVALID, f"{request.repository} holds a file that may not be stored: {file.path!r}"
            )


def _need_space(directory: Path, missing: int, reserve: int, free: FreeBytes) -> None:
    available = free(directory)
    if missing + reserve > available and missing:
        needs = f"{directory} needs {_gigabytes(missing)} more and {_gigabytes(reserve)} in reserve"
        raise LoadFailed(FailureKind.NO_SPACE, f"{needs}, {_gigabytes(available)} are free")


def _finish(directory: Path, complete: marker.Complete) -> None:
    previous = marker.read_previous(directory)
    marker.mark_complete(directory, complete)
    kept = {file.path for file in complete.files}
    for file in previous.files if previous else ():
        if file.path not in kept:
            (directory / file.path).unlink(missing_ok=True)
    marker.forget_previous(directory)
    shutil.rmtree(marker.partial_directory(directory), ignore_errors=True)


def difference(path: Path, file: "RemoteFile") -> str:
    """How the file's content differs from what the hub says; empty when it does not."""
    size = path.stat().st_size
    if size != file.size_bytes:
        return f"{size} bytes instead of {file.size_bytes}"
    if file.sha256 is not None and (found := _hashed(path, hashlib.sha256())) != file.sha256:
        return f"SHA-256 is {found} instead of {file.sha256}"
    if file.git_sha1 is not None:
        blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        if (found := _hashed(path, blob)) != file.git_sha1:
            return f"git's hash is {found} instead of {file.git_sha1}"
    return ""


def _hashed(path: Path, digest: "hashlib._Hash") -> str:
    with path.open("rb") as source:
        while block := source.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process a directory. Raises LoadFailed when another one holds on to it."""
    deadline = time.monotonic() + LOCK_SECONDS
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in {errno.EAGAIN, errno.EACCES}:
                    raise
            if time.monotonic() > deadline:
                raise LoadFailed(FailureKind.CRASHED, f"another process holds {path}")
            time.sleep(0.05)
        yield


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB"


# --- a local file


def check(request: CheckRequest, progress: Progress) -> None:
    """Hash the file and write down that it is right. Raises LoadFailed."""
    path = Path(request.path)
    try:
        state = path.stat()
        progress.total_bytes = state.st_size
        digest, position = hashlib.sha256(), 0
        with path.open("rb") as source:
            while block := source.read(_BLOCK_BYTES):
                digest.update(block)
                position += len(block)
                progress.at(request.path, position)
        if digest.hexdigest() != request.sha256:
            message = f"{path} has the SHA-256 {digest.hexdigest()}, not {request.sha256} as source.file.sha256 says"
            raise LoadFailed(FailureKind.INVALID, message)
        marker.write_atomically(
            Path(request.record),
            {
                "path": request.path,
                "sha256": request.sha256,
                "size_bytes": state.st_size,
                "modified_ns": state.st_mtime_ns,
                "inode": state.st_ino,
            },
        )
    except OSError as error:
        raise LoadFailed(FailureKind.STORAGE, f"{error.filename or path}: {error.strerror}") from error


# --- the program


def run(request: Request, send: Send, report_seconds: float = REPORT_SECONDS) -> Report:
    """Do what is asked and report on the way. Returns the last report, which says how it ended."""
    progress = Progress()
    ended = threading.Event()
    teller = threading.Thread(target=_tell, args=(progress, send, ended, report_seconds), daemon=True)
    teller.start()
    failure: LoadFailed | None = None
    try:
        if isinstance(request, CheckRequest):
            check(request, progress)
        else:
            load(request, progress)
    except LoadFailed as error:
        failure = error
    ended.set()
    teller.join()
    last = progress.report()
    if failure is None:
        last = Report(last.done_bytes, last.total_bytes, done=True)
    else:
        last = Report(last.done_bytes, last.total_bytes, failure=failure.kind, message=str(failure))
    send(last)
    return last


def _tell(progress: Progress, send: Send, ended: threading.Event, report_seconds: float) -> None:
    """Report what changed, and now and then that we live."""
    last, told_at = Report(), float("-inf")
    while not ended.wait(report_seconds):
        report, now = progress.report(), time.monotonic()
        if report != last or now - told_at > HEARTBEAT_SECONDS:
            send(report)
            last, told_at = report, now


def sender(output: TextIO) -> Send:
    """Reports as JSON lines."""
    lock = threading.Lock()

    def send(report: Report) -> None:
        with lock:
            output.write(report_to_json(report) + "\n")
            output.flush()

    return send


HUB_LIBRARY = {
    "HF_HUB_DISABLE_XET": "1",  # its own protocol and cache: neither resumes where we do
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
"""Environment of the hub's library, read when it is imported."""


def main() -> int:
    os.environ.update(HUB_LIBRARY)
    request = request_from_json(sys.stdin.buffer.read())
    return 0 if run(request, sender(sys.stdout)).done else 1


if __name__ == "__main__":
    sys.exit(main())
