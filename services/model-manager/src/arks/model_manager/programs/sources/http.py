"""Files at URLs of web servers, with or without ranges."""

import hashlib
import json
import ssl
from collections.abc import Iterator

import httpx2

from arks.model_manager.domain.failures import DownloadFailed, FailureKind
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.domain.source_kind import HttpFile
from arks.model_manager.programs.sources.remote import (
    CONNECT_SECONDS,
    READ_SECONDS,
    http_store,
    read_range,
    read_whole,
)
from arks.model_manager.programs.sources.source import Listing, RemoteFile

_PASSING = {408, 425, 429, 500, 502, 503, 504}


class WebFiles:
    """The files that a request lists. A file that changes during the download fails it, if its server gives ETags."""

    def __init__(self, request: DownloadRequest) -> None:
        header = request.credentials.get("AUTHORIZATION")
        self._headers = {"authorization": header} if header else {}
        self._files = {file.path: file for file in request.files}
        timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        self._client = httpx2.Client(follow_redirects=True, timeout=timeout, headers=self._headers)

    def close(self) -> None:
        self._client.close()

    def listing(self) -> Listing:
        files = tuple(self._probe(file) for file in self._files.values())
        content = json.dumps([[file.path, file.size_bytes, file.identity] for file in files])
        return Listing(hashlib.sha256(content.encode()).hexdigest()[:40], files)

    def read(self, file: RemoteFile, revision: str, start: int, end: int) -> Iterator[bytes]:
        what, denied = _public(self._files[file.path].url), self._denied()
        store = http_store(self._files[file.path].url, self._headers)
        if not file.ranges:
            return read_whole(store, "", what=what, denied=denied)
        return read_range(store, "", start, end, what=what, if_match=file.version, denied=denied)

    def _probe(self, file: HttpFile) -> RemoteFile:
        """Size, ETag and whether the server sends ranges, from a request for the first byte."""
        what = _public(file.url)
        headers = {"range": "bytes=0-0", "accept-encoding": "identity"}
        try:
            with self._client.stream("GET", file.url, headers=headers) as response:
                return _remote(file, response, what, self._denied())
        except (httpx2.HTTPError, OSError, ssl.SSLError) as error:
            raise DownloadFailed(FailureKind.NETWORK, f"{what} cannot be reached ({type(error).__name__})") from None

    def _denied(self) -> str:
        if self._headers:
            return "the header in source.http.secretRef gives no access to it"
        return "it may be private: no header is named in source.http.secretRef"


def _remote(file: HttpFile, response: httpx2.Response, what: str, denied: str) -> RemoteFile:
    status, headers = response.status_code, response.headers
    etag = headers.get("etag")
    version = etag if etag and not etag.startswith("W/") else None  # a weak one cannot be required of a range
    if status == 206:
        total = headers.get("content-range", "").rpartition("/")[2]
        if total.isdigit():
            return RemoteFile(file.path, int(total), sha256=file.sha256, version=version)
    if status == 416 and headers.get("content-range", "").endswith("/0"):
        return RemoteFile(file.path, 0, sha256=file.sha256)
    if status == 200 and headers.get("content-length", "").isdigit():
        return RemoteFile(file.path, int(headers["content-length"]), sha256=file.sha256, version=version, ranges=False)
    if status in {200, 206}:
        raise DownloadFailed(FailureKind.INVALID, f"{what} has no length: its server gives no Content-Length")
    if status in {401, 403}:
        raise DownloadFailed(FailureKind.DENIED, f"{what} was refused ({status}); {denied}")
    if status in {404, 410}:
        raise DownloadFailed(FailureKind.NOT_FOUND, f"{what} does not exist ({status})")
    kind = FailureKind.NETWORK if status in _PASSING else FailureKind.INVALID
    raise DownloadFailed(kind, f"{what}: the server answered {status}")


def _public(url: str) -> str:
    """The address without password and query, which may be a signature."""
    parts = httpx2.URL(url)
    return f"{parts.scheme}://{parts.host}{f':{parts.port}' if parts.port else ''}{parts.path}"
