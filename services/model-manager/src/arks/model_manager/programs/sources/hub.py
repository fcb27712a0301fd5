"""Hugging Face, and hubs with its API. huggingface_hub lists files, obstore reads ranges.

The library's own transfer is not used: it reads one stream a file, and discards partial files when its process ends.
Its import costs 40 MB and half a second.
"""

import re
from collections.abc import Iterator

import httpx2
from huggingface_hub import HfApi, close_session, set_client_factory
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils._headers import build_hf_headers

from arks.kit.errors import reason_of
from arks.model_manager.domain.failures import DownloadFailed, FailureKind
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.programs.sources.patterns import wanted
from arks.model_manager.programs.sources.remote import CONNECT_SECONDS, READ_SECONDS, http_store, read_range
from arks.model_manager.programs.sources.source import Listing, RemoteFile

TOKEN = "HF_TOKEN"  # noqa: S105  # a name
_GIT_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Hub:
    """One repository, as `request` names it. Every method raises DownloadFailed."""

    def __init__(self, request: DownloadRequest) -> None:
        self._request = request
        self._token = request.credentials.get(TOKEN)
        self._store = http_store(request.endpoint, build_hf_headers(token=self._token or False, library_name="arks"))
        set_client_factory(_client)

    def close(self) -> None:
        close_session()

    def listing(self) -> Listing:
        """The files that match the request's patterns."""
        request = self._request
        api = HfApi(endpoint=request.endpoint, token=self._token or False)
        try:
            commit = api.model_info(request.repository, revision=request.revision).sha
            tree = list(api.list_repo_tree(request.repository, recursive=True, revision=commit))
        except (httpx2.HTTPError, OSError, HFValidationError) as error:
            raise failed(error, request) from error
        except (ValueError, KeyError, TypeError) as error:
            raise DownloadFailed(FailureKind.INVALID, f"{request.endpoint} does not answer as a hub does") from error
        files = [_remote(entry) for entry in tree if isinstance(entry, RepoFile)]
        return Listing(commit or request.revision, wanted(files, request.allow_patterns, request.ignore_patterns))

    def read(self, file: RemoteFile, revision: str, start: int, end: int) -> Iterator[bytes]:
        """Every range is requested of the hub anew, because the address that it redirects to expires."""
        request = self._request
        address = f"{request.repository}/resolve/{revision}/{file.path}"
        what = f"{file.path} of {request.repository} at {request.endpoint}"
        denied = _NO_ACCESS if self._token else _NO_TOKEN
        return read_range(self._store, address, start, end, what=what, denied=denied)


def _client() -> httpx2.Client:
    return httpx2.Client(follow_redirects=True, event_hooks={"request": [_limit_time]})


def _limit_time(request: httpx2.Request) -> None:
    """The library sends some requests without any time limit."""
    limits = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS).as_dict()
    given = request.extensions.get("timeout") or {}
    request.extensions["timeout"] = limits | {name: value for name, value in given.items() if value is not None}


def _remote(entry: RepoFile) -> RemoteFile:
    if entry.lfs is not None:
        sha256 = entry.lfs.sha256 if _SHA256.fullmatch(entry.lfs.sha256 or "") else None
        return RemoteFile(entry.path, entry.lfs.size, sha256=sha256)
    return RemoteFile(entry.path, entry.size, git_sha1=entry.blob_id if _GIT_SHA1.fullmatch(entry.blob_id) else None)


# --- errors of the library

_NO_ACCESS = "the token of source.huggingface.tokenSecretRef gives no access to it"
_NO_TOKEN = "it may be private: no token is named in source.huggingface.tokenSecretRef"  # noqa: S105


def failed(error: Exception, request: DownloadRequest) -> DownloadFailed:
    """Translate an error, without the library's message: that may hold a signed address."""
    if isinstance(error, HfHubHTTPError):
        return _refused(error, request)
    if isinstance(error, httpx2.HTTPError | OSError):
        return DownloadFailed(FailureKind.NETWORK, f"{request.endpoint} cannot be reached: {_plain(error)}")
    return DownloadFailed(FailureKind.INVALID, f"spec.model {request.repository}: {_plain(error)}")


def _refused(error: HfHubHTTPError, request: DownloadRequest) -> DownloadFailed:
    name, hub, status = request.repository, request.endpoint, error.response.status_code
    if isinstance(error, GatedRepoError):
        advice = "accept its terms there and name a token with access in source.huggingface.tokenSecretRef"
        if TOKEN in request.credentials:
            advice = f"{_NO_ACCESS}: accept its terms there with the token's account, or replace the token"
        return DownloadFailed(FailureKind.DENIED, f"{name} is gated on {hub} ({status}): {advice}")
    if isinstance(error, RevisionNotFoundError):
        return DownloadFailed(FailureKind.NOT_FOUND, f"{name} on {hub} has no revision {request.revision} ({status})")
    token = _NO_ACCESS if TOKEN in request.credentials else _NO_TOKEN
    if status in {401, 403}:
        return DownloadFailed(FailureKind.DENIED, f"{hub} refuses {name} ({status}); {token}")
    if status == 404 or isinstance(error, RepositoryNotFoundError):
        return DownloadFailed(FailureKind.NOT_FOUND, f"{hub} does not have {name} ({status}); {token}")
    return DownloadFailed(FailureKind.NETWORK, f"{hub} answered {status} for {name}")


def _plain(error: Exception) -> str:
    return reason_of(error).splitlines()[0][:200]
