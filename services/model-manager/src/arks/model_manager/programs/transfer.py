"""Transfer one file: chunks by several streams at once, hashed in order while they arrive."""

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

from arks.model_manager.domain.failures import DownloadFailed, FailureKind
from arks.model_manager.programs.byte_counter import ByteCounter
from arks.model_manager.programs.disk_space import DiskSpace
from arks.model_manager.programs.partial_file import PartialFile
from arks.model_manager.programs.rate_limit import RateLimit
from arks.model_manager.programs.sources.source import RemoteFile, Source
from arks.model_manager.programs.write_back import WriteBack

ATTEMPTS_PER_CHUNK = 2
"""Without a byte in between. obstore retries each of them three times; the service retries later."""
RETRY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Digests:
    sha256: str
    git_sha1: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """What the transfers of one download share."""

    source: Source
    revision: str
    streams: Executor
    counter: ByteCounter
    limit: RateLimit
    space: DiskSpace

    def run(self, file: RemoteFile, into: Path) -> Digests:
        """Fetch what `into` lacks. Returns the digests of the whole file. Raises DownloadFailed, OSError."""
        durable = file.sha256 is None and file.git_sha1 is None
        with PartialFile(into, file.size_bytes, ranges=file.ranges, durable=durable) as partial:
            self.counter.set_position(file.path, partial.done_bytes)
            chunks = [self.streams.submit(self._fetch, file, partial, index) for index in range(partial.count)]
            with WriteBack(partial):
                try:
                    digests = _hash(partial, file)
                finally:
                    _end(chunks)
            if digests is None:
                raise _first_failure(chunks)
            partial.sync()
            return digests

    def _fetch(self, file: RemoteFile, partial: PartialFile, index: int) -> None:
        try:
            self._fetch_with_retries(file, partial, index)
        except BaseException:
            partial.fail()
            raise

    def _fetch_with_retries(self, file: RemoteFile, partial: PartialFile, index: int) -> None:
        """A connection that breaks off is continued, as long as each one brings bytes."""
        fruitless = 0
        while True:
            before, _ = partial.missing(index)
            try:
                self._fetch_chunk(file, partial, index)
                return
            except DownloadFailed as failure:
                progressed = partial.missing(index)[0] > before
                fruitless = 0 if progressed else fruitless + 1
                if failure.kind is not FailureKind.NETWORK or not file.ranges or fruitless == ATTEMPTS_PER_CHUNK:
                    raise
            self.counter.check()
            time.sleep(RETRY_SECONDS)

    def _fetch_chunk(self, file: RemoteFile, partial: PartialFile, index: int) -> None:
        start, end = partial.missing(index)
        if start == end:
            return
        self.counter.check()
        self.space.require(end - start)
        position = start
        for block in self.source.read(file, self.revision, start, end):
            position += len(block)
            if position > end:
                message = f"the source sent more than the {file.size_bytes} bytes of {file.path}"
                raise DownloadFailed(FailureKind.CORRUPT, message)
            partial.write(index, block)
            self.counter.set_position(file.path, partial.done_bytes)
            self.limit.take(len(block), self.counter.check)
        if position != end:
            raise DownloadFailed(FailureKind.NETWORK, f"{file.path} broke off at byte {position} of {file.size_bytes}")


def _hash(partial: PartialFile, file: RemoteFile) -> Digests | None:
    """None if a chunk failed."""
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(f"blob {file.size_bytes}\0".encode(), usedforsecurity=False)
    updates: list[Callable[[memoryview], None]] = [sha256.update]
    updates += [blob.update] if file.git_sha1 is not None else []
    position = 0
    while block := partial.follow(position):
        for update in updates:
            update(block)
        position += len(block)
    return None if block is None else Digests(sha256.hexdigest(), blob.hexdigest())


def _end(chunks: list[Future[None]]) -> None:
    """Wait until no thread writes any more."""
    for chunk in chunks:
        chunk.cancel()
    for chunk in chunks:
        if not chunk.cancelled():
            chunk.exception()


def _first_failure(chunks: list[Future[None]]) -> BaseException:
    failures = [chunk.exception() for chunk in chunks if not chunk.cancelled()]
    return next(failure for failure in failures if failure is not None)
