"""Download the files of a source into a directory, resuming files that are partly there."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath

from arks.model_manager.adapters import marker
from arks.model_manager.adapters.collector import Collector, ReadDisk, read_disk
from arks.model_manager.adapters.store import Store
from arks.model_manager.domain.failures import DownloadFailed, FailureKind
from arks.model_manager.domain.garbage import Watermarks
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.domain.storage_path import ARKS_DIRECTORY
from arks.model_manager.programs.byte_counter import ByteCounter
from arks.model_manager.programs.directory_lock import locked
from arks.model_manager.programs.disk_faults import disk_failed
from arks.model_manager.programs.disk_space import DiskSpace
from arks.model_manager.programs.file_hash import content_sha256, difference
from arks.model_manager.programs.partial_file import bytes_in, discard, table_of
from arks.model_manager.programs.rate_limit import RateLimit
from arks.model_manager.programs.sources.choice import open_source
from arks.model_manager.programs.sources.source import RemoteFile, Source
from arks.model_manager.programs.transfer import Digests, Transfer

ATTEMPTS_PER_FILE = 2


def download_repository(
    request: DownloadRequest,
    counter: ByteCounter,
    disk: ReadDisk = read_disk,
    open_: Callable[[DownloadRequest], Source] = open_source,
) -> None:
    """Download what is missing, check every file and mark the directory complete. Raises DownloadFailed."""
    directory = Path(request.directory)
    try:
        marker.partial_directory(directory).mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            stack.enter_context(locked(marker.lock_file(directory)))
            source = stack.enter_context(contextlib.closing(open_(request)))
            listing = source.listing()
            _refuse_unsafe(request, listing.files)
            streams = stack.enter_context(ThreadPoolExecutor(request.connections))
            space = _space(request, directory, disk)
            limit = RateLimit(request.bytes_per_second)
            transfer = Transfer(source, listing.revision, streams, counter, limit, space)
            store = Store(Path(request.store) if request.store else None)
            download = _RepositoryDownload(directory, request.fingerprint, transfer, store)
            download.count_existing(listing.files)
            space.require(download.missing_bytes(listing.files))
            download.run(listing.files, request.connections)
            marker.retire_complete(directory)
            _finish(directory, marker.Complete(request.fingerprint, listing.revision, download.switch(listing.files)))
            space.collect()
    except OSError as error:
        raise disk_failed(error, request.directory) from error


class _RepositoryDownload:
    """Gather whole files beside those of the present version, then switch: engines that start meanwhile find one
    version or the other.
    """

    def __init__(self, directory: Path, fingerprint: str, transfer: Transfer, store: Store) -> None:
        self._store = store
        self._directory = directory
        self._next = marker.next_directory(directory)
        self._transfer = transfer
        self._counter = transfer.counter
        previous = marker.read_complete(directory) or marker.read_previous(directory)
        self._checked = {file.path: file for file in previous.files} if previous else {}
        self._same_source = previous is not None and previous.fingerprint == fingerprint
        self._resumes = marker.gathered_revision(directory) == transfer.revision
        marker.gather(directory, transfer.revision)
        self._digests: dict[str, str] = {}
        """SHA-256 of the files that were fetched."""

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
        return marker.StoredFile(
            file.path,
            state.st_size,
            state.st_mtime_ns,
            file.sha256,
            file.git_sha1,
            version=file.version,
            content_sha256=None if file.hashed else self._content_sha256(file, target, state),
        )

    def _content_sha256(self, file: RemoteFile, target: Path, state: os.stat_result) -> str:
        """So that damage can be found later. Read from the disk only if it is not known."""
        checked = self._checked.get(file.path)
        known = self._digests.get(file.path)
        if known is None and checked is not None and _untouched(checked, state):
            known = checked.content_sha256
        return known or content_sha256(target)

    def _ensure(self, file: RemoteFile) -> None:
        gathered = self._next / file.path
        if self._is_good(self._directory / file.path, file):
            gathered.unlink(missing_ok=True)
        elif not self._is_gathered(gathered, file) and not self._linked(file, gathered):
            self._fetch(gathered, file)
        self._counter.set_position(file.path, file.size_bytes)

    def _linked(self, file: RemoteFile, target: Path) -> bool:
        return file.sha256 is not None and self._store.link(file.sha256, file.size_bytes, target)

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
                self._store.add(digests.sha256, target)
                self._digests[file.path] = digests.sha256
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
        if checked is not None and not file.hashed:
            same = file.version == checked.version and (file.version is not None or self._same_source)
            return same and _untouched(checked, state) and state.st_size == file.size_bytes
        if (
            checked
            and _untouched(checked, state)
            and (checked.sha256, checked.git_sha1) == (file.sha256, file.git_sha1)
        ):
            return state.st_size == file.size_bytes
        return not difference(target, file)

    def _is_gathered(self, gathered: Path, file: RemoteFile) -> bool:
        """Whether an earlier attempt has fetched it. Without a hash only the revision shows which content it has."""
        return (file.hashed or self._resumes) and gathered.is_file() and not difference(gathered, file)

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


def _space(request: DownloadRequest, directory: Path, disk: ReadDisk) -> DiskSpace:
    stores = request.stores or request.store
    marks = Watermarks(request.high_percent, request.low_percent)
    return DiskSpace(directory, request.reserve_bytes, Collector(Path(stores) if stores else None, marks, disk), disk)


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


def _untouched(checked: marker.StoredFile, state: os.stat_result) -> bool:
    return (checked.size_bytes, checked.modified_ns) == (state.st_size, state.st_mtime_ns)


def _fault(found: Digests, file: RemoteFile) -> str:
    """How the transferred content differs from the source's; empty if it does not."""
    if file.sha256 is not None and found.sha256 != file.sha256:
        return f"SHA-256 is {found.sha256} instead of {file.sha256}"
    if file.git_sha1 is not None and found.git_sha1 != file.git_sha1:
        return f"git's hash is {found.git_sha1} instead of {file.git_sha1}"
    return ""
