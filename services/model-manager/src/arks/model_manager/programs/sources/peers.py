"""A model in the cluster: read from the agents of other nodes, or from the export of its PVC, whichever answers first.

What arrives is checked by the hashes of the listing, so a source can delay a copy and not change it.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

import httpx2

from arks.model_manager.domain.failures import DownloadFailed, FailureKind
from arks.model_manager.domain.node_cache.copies import Copy, version_of
from arks.model_manager.domain.node_cache.tickets import Tickets
from arks.model_manager.programs.sources.remote import CONNECT_SECONDS, READ_SECONDS, http_store, read_range
from arks.model_manager.programs.sources.source import Listing, RemoteFile

MOST_LISTING_BYTES = 32 << 20
"""Of a model with 100,000 files."""
AVOID_SECONDS = 30.0
"""A source that failed is the last choice for so long."""


class Peers:
    def __init__(self, copy: Copy, tickets: Tickets, now: Callable[[], float] = time.time) -> None:
        """`copy.sources`: base URLs, best first. `now`: Unix seconds."""
        self._copy = copy
        self._tickets = tickets
        self._now = now
        self._failed_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def close(self) -> None: ...

    def listing(self) -> Listing:
        """Raises DownloadFailed if no source lists this version of the model."""
        failure = DownloadFailed(FailureKind.NETWORK, f"no node has {self._copy.namespace}/{self._copy.model} yet")
        for source in self._in_order():
            try:
                return self._listing_of(source)
            except DownloadFailed as error:
                failure = error
                self._avoid(source)
        raise failure

    def read(self, file: RemoteFile, revision: str, start: int, end: int) -> Iterator[bytes]:
        """Continues at another source where one breaks off."""
        position, failure = start, None
        for source in self._in_order():
            try:
                for block in self._range(source, file, position, end):
                    position += len(block)
                    yield block
                if position >= end:
                    return
            except DownloadFailed as error:
                failure = error
            self._avoid(source)
        # a copy that is replaced or removed while it is read is no lasting fault: other sources come
        message = str(failure) if failure is not None else f"{file.path} broke off at byte {position}"
        raise DownloadFailed(FailureKind.NETWORK, message)

    def _range(self, source: str, file: RemoteFile, start: int, end: int) -> Iterator[bytes]:
        store = http_store(f"{self._base(source)}/files/{quote(file.path)}", self._headers())
        return read_range(store, "", start, end, what=f"{file.path} at {source}", denied=_DENIED)

    def _listing_of(self, source: str) -> Listing:
        timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        try:
            with httpx2.stream("GET", self._base(source), headers=self._headers(), timeout=timeout) as response:
                if response.status_code != 200:
                    message = f"{source} answered {response.status_code} for the model"
                    raise DownloadFailed(FailureKind.NETWORK, message)
                stored = json.loads(_body(response))
            files = tuple(map(_file, stored["files"]))
            version = version_of(stored["fingerprint"], stored["revision"])
        except (httpx2.HTTPError, OSError) as error:
            raise DownloadFailed(FailureKind.NETWORK, f"{source} cannot be reached ({type(error).__name__})") from None
        except (ValueError, KeyError, TypeError) as error:
            raise DownloadFailed(FailureKind.NETWORK, f"{source} does not answer as an agent does") from error
        if version != self._copy.version or not all(file.hashed or file.size_bytes == 0 for file in files):
            raise DownloadFailed(FailureKind.NETWORK, f"{source} has other files of the model")
        return Listing(stored["revision"], files)

    def _base(self, source: str) -> str:
        copy = self._copy
        return f"{source}/v1/namespaces/{copy.namespace}/models/{copy.model}/{copy.version}"

    def _headers(self) -> dict[str, str]:
        with self._lock:
            return {"authorization": f"Bearer {self._tickets.current(self._now())}"}

    def _in_order(self) -> Sequence[str]:
        with self._lock:
            recent = time.monotonic() - AVOID_SECONDS
            return sorted(self._copy.sources, key=lambda source: self._failed_at.get(source, recent) > recent)

    def _avoid(self, source: str) -> None:
        with self._lock:
            self._failed_at[source] = time.monotonic()


def _body(response: httpx2.Response) -> bytes:
    """Raises ValueError for more than any listing has: an export is a pod of its namespace."""
    body = bytearray()
    for block in response.iter_bytes():
        body += block
        if len(body) > MOST_LISTING_BYTES:
            raise ValueError("a listing without an end")
    return bytes(body)


def _file(entry: dict[str, Any]) -> RemoteFile:
    """Raises ValueError, KeyError and TypeError for what is no file."""
    path, size_bytes, sha256, git_sha1 = (entry[name] for name in ("path", "size_bytes", "sha256", "git_sha1"))
    if not isinstance(path, str) or type(size_bytes) is not int or not 0 <= size_bytes < 2**63:
        raise ValueError("not a file")
    path.encode()  # raises ValueError for half a character, which no file system stores
    for digest, pattern in ((sha256, r"[0-9a-f]{64}"), (git_sha1, r"[0-9a-f]{40}")):
        if digest is not None and not re.fullmatch(pattern, digest):
            raise ValueError("not a digest")
    return RemoteFile(path, size_bytes, sha256=sha256, git_sha1=git_sha1)


_DENIED = "the keys of the two programs differ"
