"""Download the files of a source into a directory, resuming files that are partly there."""

import contextlib
import errno
import fcntl
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath

from arks.contracts.quantities import human_bytes
from arks.model_manager.adapters import marker
from arks.model_manager.adapters.store import Store
from arks.model_manager.domain.failures import DownloadFailed, FailureKind
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.domain.storage_path import ARKS_DIRECTORY
from arks.model_manager.programs.byte_counter import ByteCounter
from arks.model_manager.programs.disk_faults import disk_failed
from arks.model_manager.programs.file_hash import difference
from arks.model_manager.programs.partial_file import bytes_in, discard, table_of
from arks.model_manager.programs.rate_limit import RateLimit
from arks.model_manager.programs.sources.choice import open_source
from arks.model_manager.programs.sources.source import RemoteFile
from arks.model_manager.programs.transfer import Digests, Transfer

LOCK_SECONDS = 10.0
"""A killed service's download process may hold the lock for a moment."""
ATTEMPTS_PER_FILE = 2

FreeBytes = Callable[[Path], int]


def free_bytes(directory: Path) -> int:
    return shutil.disk_usage(directory).free


def download_repository(request: DownloadRequest, counter: ByteCounter, free: FreeBytes = free_bytes) -> None:
    """Download what is missing, check every file and mark the directory complete. Raises DownloadFailed."""
    directory = Path(request.directory)
    try:
        marker.partial_directory(directory).mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            stack.enter_context(_locked(marker.lock_file(directory)))
            source = stack.enter_context(contextlib.closing(open_source(request)))
            listing = source.listing()
            _refuse_unsafe(request, listing.files)
            streams = stack.enter_context(ThreadPoolExecutor(request.connections))
            transfer = Transfer(source, listing.revision, streams, counter, RateLimit(request.bytes_per_second))
            download = _RepositoryDownload(directory, transfer, Store(Path(request.store) if request.store else None))
            download.count_existing(listing.files)
            _require_space(directory, download.missing_bytes(listing.files), request.reserve_bytes, free)
            download.run(listing.files, request.connections)
            marker.retire_complete(directory)
            _finish(directory, marker.Complete(request.fingerprint, listing.revision, download.switch(listing.files)))
            download.store.sweep()
    except OSError as error:
        raise disk_failed(error, request.directory) from error


class _RepositoryDownload:
    """Gather whole files beside those of the present version, then switch: engines that start meanwhile find one
    version or the other.
    """

    def __init__(self, directory: Path, transfer: Transfer, store: Store) -> None:
        self.store = store
        self._directory = directory
        self._next = marker.next_directory(directory)
        self._transfer = transfer
        self._counter = transfer.counter
        previous = marker.read_complete(directory) or marker.read_previous(directory)
        self._checked = {file.path: file for file in previous.files} if previous else {}

    def count_existing(self, files: Sequence[RemoteFile]) -> None:
        self._counter.total_bytes = sum(file.size_bytes for file in files)
        for file in files:
            self._counter.set_position(file.path, self._existing_bytes(file))

    def missing_bytes(self, files: Sequence[RemoteFile]) -> int:
        return sum(file.size_bytes - self._existing_bytes(file) for file in files)

    def run(self, files: Sequence[RemoteFile], connections: int) -> None:
        """All files, `connections` at a time. The first failure stops the others."""
        with ThreadPoolExecutor(connections) as pool:
            futures = [pool.submit(self._ensure, file) for file in files]
            wait(futures, return_when=FIRST_EXCEPTION)
            failed = [future for future in futures if future.done() and future.exception() is not None]
            if failed:
                self._counter.stopped = True
                for future in futures:
                    future.cancel()
                failed[0].result()
            for future in futures:
                future.result()

    def switch(self, files: Sequence[RemoteFile]) -> tuple[marker.StoredFile, ...]:
        """Move the gathered files into place."""
        return tuple(self._move_in(file) for file in files)

    def _move_in(self, file: RemoteFile) -> marker.StoredFile:
        target, gathered = self._directory / file.path, self._next / file.path
        if gathered.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            gathered.replace(target)
        state = target.stat()
        return marker.StoredFile(file.path, state.st_size, state.st_mtime_ns, file.sha256, file.git_sha1)

    def _ensure(self, file: RemoteFile) -> None:
        gathered = self._next / file.path
        if self._is_good(self._directory / file.path, file):
            gathered.unlink(missing_ok=True)
        elif not self._is_good(gathered, file) and not self._linked(file, gathered):
            self._fetch(gathered, file)
        self._counter.set_position(file.path, file.size_bytes)

    def _linked(self, file: RemoteFile, target: Path) -> bool:
        return file.sha256 is not None and self.store.link(file.sha256, file.size_bytes, target)

    def _fetch(self, target: Path, file: RemoteFile) -> None:
        partial = self._partial(file)
        fault = ""
        for _ in range(ATTEMPTS_PER_FILE):
            digests = self._transfer.run(file, partial)
            fault = _fault(digests, file)
            if not fault:
                target.parent.mkdir(parents=True, exist_ok=True)
                partial.replace(target)
                table_of(partial).unlink()
                self.store.add(digests.sha256, target)
                return
            discard(partial)
        message = f"{file.path} arrived damaged {ATTEMPTS_PER_FILE} times: {fault}"
        raise DownloadFailed(FailureKind.CORRUPT, message)

    def _is_good(self, target: Path, file: RemoteFile) -> bool:
        """Whether the file has the right content. Its hash is not computed again if it was not touched since."""
        if not target.is_file() or target.is_symlink():
            return False
        state = target.stat()
        checked = self._checked.get(file.path)
        untouched = checked and (checked.size_bytes, checked.modified_ns) == (state.st_size, state.st_mtime_ns)
        if checked and untouched and (checked.sha256, checked.git_sha1) == (file.sha256, file.git_sha1):
            return state.st_size == file.size_bytes
        return not difference(target, file)

    def _existing_bytes(self, file: RemoteFile) -> int:
        for target in (self._directory / file.path, self._next / file.path):
            if target.is_file() and target.stat().st_size == file.size_bytes:
                return file.size_bytes
        return bytes_in(self._partial(file), file.size_bytes) if file.ranges else 0

    def _partial(self, file: RemoteFile) -> Path:
        """Named after path and content: the beginning of another version is of no use."""
        content = file.identity or self._transfer.revision
        name = hashlib.sha256(f"{file.path}\n{content}\n{file.size_bytes}".encode()).hexdigest()[:32]
        return marker.partial_directory(self._directory) / f"{name}.part"


def _refuse_unsafe(request: DownloadRequest, files: Sequence[RemoteFile]) -> None:
    if not files:
        reason = "has no files" if not (request.allow_patterns or request.ignore_patterns) else "has none that match"
        message = f"{request.repository} ({request.revision}) {reason}: nothing to load"
        raise DownloadFailed(FailureKind.INVALID, message)
    for file in files:
        parts = PurePosixPath(file.path).parts
        if file.path.startswith("/") or ".." in parts or "\0" in file.path or parts[0] == ARKS_DIRECTORY:
            message = f"{request.repository} holds a file that may not be stored: {file.path!r}"
            raise DownloadFailed(FailureKind.INVALID, message)


def _require_space(directory: Path, missing: int, reserve: int, free: FreeBytes) -> None:
    available = free(directory)
    if missing + reserve > available and missing:
        needs = f"{directory} needs {human_bytes(missing)} more and {human_bytes(reserve)} in reserve"
        raise DownloadFailed(FailureKind.NO_SPACE, f"{needs}, {human_bytes(available)} are free")


def _finish(directory: Path, complete: marker.Complete) -> None:
    """Mark the directory complete, then delete files of the previous version and partial ones."""
    previous = marker.read_previous(directory)
    marker.mark_complete(directory, complete)
    kept = {file.path for file in complete.files}
    for file in previous.files if previous else ():
        if file.path not in kept:
            (directory / file.path).unlink(missing_ok=True)
    marker.forget_previous(directory)
    for temporary in (marker.partial_directory(directory), marker.next_directory(directory)):
        shutil.rmtree(temporary, ignore_errors=True)


def _fault(found: Digests, file: RemoteFile) -> str:
    """How the transferred content differs from the source's; empty if it does not."""
    if file.sha256 is not None and found.sha256 != file.sha256:
        return f"SHA-256 is {found.sha256} instead of {file.sha256}"
    if file.git_sha1 is not None and found.git_sha1 != file.git_sha1:
        return f"git's hash is {found.git_sha1} instead of {file.git_sha1}"
    return ""


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Allow one process per directory. Raises DownloadFailed if another one keeps the lock."""
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
                raise DownloadFailed(FailureKind.CRASHED, f"another process holds {path}")
            time.sleep(0.05)
        yield
