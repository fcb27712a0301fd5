"""ModelScope, and hubs with its API: `/api/v1/models/<repository>/repo/files` lists, `/repo?FilePath=` sends files.

A branch that moves during the download shows as files of another SHA-256.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import httpx2

from arks.model_manager.domain.failures import DownloadFailed, FailureKind
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.programs.sources.patterns import wanted
from arks.model_manager.programs.sources.remote import CONNECT_SECONDS, READ_SECONDS, http_store, read_range
from arks.model_manager.programs.sources.source import Listing, RemoteFile

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PASSING = {408, 429, 500, 502, 503, 504}


class ModelScope:
    def __init__(self, request: DownloadRequest) -> None:
        self._request = request
        token = request.credentials.get("MODELSCOPE_API_TOKEN")
        self._headers = {"cookie": f"m_session_id={token}"} if token else {}
        self._base = f"{request.endpoint}/api/v1/models/{quote(request.repository)}/repo"
        timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        self._client = httpx2.Client(follow_redirects=True, timeout=timeout, headers=self._headers)

    def close(self) -> None:
        self._client.close()

    def listing(self) -> Listing:
        request = self._request
        data = self._query(f"{self._base}/files", {"Revision": request.revision, "Recursive": "true"})
        try:
            entries = [entry for entry in data["Files"] if entry["Type"] == "blob"]
            files = [_remote(entry) for entry in entries]
            commits = sorted((entry.get("CommittedDate") or 0, entry.get("Revision") or "") for entry in entries)
        except (KeyError, TypeError, ValueError) as error:
            message = f"{request.endpoint} does not answer as ModelScope does"
            raise DownloadFailed(FailureKind.INVALID, message) from error
        kept = wanted(files, request.allow_patterns, request.ignore_patterns)
        return Listing((commits and commits[-1][1]) or request.revision, kept)

    def read(self, file: RemoteFile, revision: str, start: int, end: int) -> Iterator[bytes]:
        url = f"{self._base}?{urlencode({'Revision': self._request.revision, 'FilePath': file.path})}"
        what = f"{file.path} of {self._request.repository} at {self._request.endpoint}"
        return read_range(http_store(url, self._headers), "", start, end, what=what, denied=self._denied())

    def _query(self, url: str, parameters: dict[str, str]) -> Any:
        name, hub = self._request.repository, self._request.endpoint
        try:
            response = self._client.get(url, params=parameters)
        except httpx2.HTTPError as error:
            message = f"{hub} cannot be reached ({type(error).__name__})"
            raise DownloadFailed(FailureKind.NETWORK, message) from None
        status = response.status_code
        if status in {401, 403}:
            raise DownloadFailed(FailureKind.DENIED, f"{hub} refuses {name} ({status}); {self._denied()}")
        if status == 404:
            message = f"{hub} does not have {name} with revision {self._request.revision} (404); {self._denied()}"
            raise DownloadFailed(FailureKind.NOT_FOUND, message)
        if status != 200:
            kind = FailureKind.NETWORK if status in _PASSING else FailureKind.INVALID
            raise DownloadFailed(kind, f"{hub} answered {status} for {name}")
        try:
            return response.json()["Data"]
        except (ValueError, KeyError, TypeError) as error:
            raise DownloadFailed(FailureKind.INVALID, f"{hub} does not answer as ModelScope does") from error

    def _denied(self) -> str:
        if self._headers:
            return "the token of source.modelscope.secretRef gives no access to it"
        return "it may be private: no token is named in source.modelscope.secretRef"


def _remote(entry: dict[str, Any]) -> RemoteFile:
    digest = entry.get("Sha256") or ""
    return RemoteFile(entry["Path"], int(entry["Size"]), sha256=digest if _SHA256.fullmatch(digest) else None)
