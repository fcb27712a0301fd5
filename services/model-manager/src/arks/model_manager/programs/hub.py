"""Client of the hub, on huggingface_hub. Only download programs import it: the library costs 40 MB and half a second.

The library lists files, builds addresses and transfers one file. Partial files are kept by `repository`, because the
library's `snapshot_download` discards them when its process ends.
"""

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import httpx2
from huggingface_hub import HfApi, close_session, constants, hf_hub_url, set_client_factory
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._paths import filter_repo_objects

from arks.model_manager.domain.failures import DownloadFailed, FailureKind
from arks.model_manager.domain.protocol import HubRequest
from arks.model_manager.programs.file_hash import RemoteFile

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
CHUNK_BYTES = 256 * 1024
"""The most that a killed process loses of each file in flight."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_GIT_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

OnPosition = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Listing:
    revision: str
    """Commit."""
    files: tuple[RemoteFile, ...]


class Hub:
    """One repository, as `request` names it. Every method raises DownloadFailed."""

    def __init__(self, request: HubRequest) -> None:
        self._request = request
        self._headers = build_hf_headers(token=request.token or False, library_name="arks")
        self._headers["accept-encoding"] = "identity"  # a range of a compressed body cannot be continued
        set_client_factory(_client)
        constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES

    def close(self) -> None:
        close_session()

    def listing(self) -> Listing:
        """The files that match the request's patterns."""
        request = self._request
        api = HfApi(endpoint=request.endpoint, token=request.token or False)
        try:
            commit = api.model_info(request.repository, revision=request.revision).sha
            tree = list(api.list_repo_tree(request.repository, recursive=True, revision=commit))
        except (httpx2.HTTPError, OSError, HFValidationError) as error:
            raise failed(error, request) from error
        except (ValueError, KeyError, TypeError) as error:
            raise DownloadFailed(FailureKind.INVALID, f"{request.endpoint} does not answer as a hub does") from error
        files = [_remote(entry) for entry in tree if isinstance(entry, RepoFile)]
        kept = filter_repo_objects(
            files,
            allow_patterns=list(request.allow_patterns) or None,
            ignore_patterns=list(request.ignore_patterns) or None,
            key=lambda file: file.path,
        )
        return Listing(commit or request.revision, tuple(kept))

    def fetch(self, file: RemoteFile, revision: str, into: Path, on_position: OnPosition) -> None:
        """Download the file into `into`, whose content counts as the beginning of the file."""
        request = self._request
        start = into.stat().st_size if into.exists() else 0
        if start > file.size_bytes:
            into.unlink()
            start = 0
        url = hf_hub_url(request.repository, file.path, revision=revision, endpoint=request.endpoint)
        try:
            with into.open("ab") as output:
                http_get(
                    url,
                    output,
                    resume_size=start,
                    headers=dict(self._headers),
                    expected_size=file.size_bytes,
                    displayed_filename=file.path,
                    tqdm_class=cast(Any, lambda **bar: _Position(bar["initial"], on_position)),
                )
        except (httpx2.HTTPError, OSError, ValueError) as error:
            raise failed(error, request) from error


class _Position:
    """Takes the place of the library's progress bar."""

    def __init__(self, start: int, on_position: OnPosition) -> None:
        self._position = start
        self._on_position = on_position
        on_position(start)

    def update(self, count: int) -> None:
        self._position += count
        self._on_position(self._position)

    def __enter__(self) -> "_Position":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None


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


def failed(error: Exception, request: HubRequest) -> DownloadFailed:
    """Translate an error, without the library's message: that may hold a signed address."""
    if isinstance(error, HfHubHTTPError):
        return _refused(error, request)
    if isinstance(error, httpx2.HTTPError | ConnectionError):
        return DownloadFailed(FailureKind.NETWORK, f"{request.endpoint} cannot be reached: {_plain(error)}")
    if isinstance(error, OSError) and error.errno is not None:
        return disk_failed(error, request.directory)
    if isinstance(error, OSError):  # the library's own check, which has no number
        return DownloadFailed(FailureKind.NETWORK, f"{request.endpoint} sent a file of the wrong length")
    return DownloadFailed(FailureKind.INVALID, f"spec.model {request.repository}: {_plain(error)}")


def disk_failed(error: OSError, directory: str) -> DownloadFailed:
    if error.errno in _FULL:
        return DownloadFailed(FailureKind.NO_SPACE, f"no space left for {directory} ({error.strerror})")
    return DownloadFailed(FailureKind.STORAGE, f"{directory} cannot be written: {error.strerror}")


def _refused(error: HfHubHTTPError, request: HubRequest) -> DownloadFailed:
    name, hub, status = request.repository, request.endpoint, error.response.status_code
    if isinstance(error, GatedRepoError):
        advice = "accept its terms there and name a token with access in source.huggingface.tokenSecretRef"
        if request.token is not None:
            advice = f"{_NO_ACCESS}: accept its terms there with the token's account, or replace the token"
        return DownloadFailed(FailureKind.DENIED, f"{name} is gated on {hub} ({status}): {advice}")
    if isinstance(error, RevisionNotFoundError):
        return DownloadFailed(FailureKind.NOT_FOUND, f"{name} on {hub} has no revision {request.revision} ({status})")
    token = _NO_ACCESS
    if request.token is None:
        token = "it may be private: no token is named in source.huggingface.tokenSecretRef"  # noqa: S105
    if status in {401, 403}:
        return DownloadFailed(FailureKind.DENIED, f"{hub} refuses {name} ({status}); {token}")
    if status == 404 or isinstance(error, RepositoryNotFoundError):
        return DownloadFailed(FailureKind.NOT_FOUND, f"{hub} does not have {name} ({status}); {token}")
    return DownloadFailed(FailureKind.NETWORK, f"{hub} answered {status} for {name}")


def _plain(error: Exception) -> str:
    text = str(error).splitlines()
    return text[0][:200] if text else type(error).__name__
