"""S3 and stores with its API, Google Cloud Storage, Azure Blob Storage, with obstore."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from arks.model_manager.domain.failures import DownloadFailed, FailureKind
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.domain.source_kind import SourceKind
from arks.model_manager.programs.sources.patterns import wanted
from arks.model_manager.programs.sources.remote import RETRY, client_options, read_range, translated
from arks.model_manager.programs.sources.source import Listing, RemoteFile

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_IDENTITY_OF_PODS = ("AWS_", "GOOGLE_", "AZURE_")
"""Begins the variables by which platforms give a pod an identity."""


class Bucket:
    """The objects under one prefix, or one object. An object that changes during the download fails it."""

    def __init__(self, request: DownloadRequest, environment: dict[str, str]) -> None:
        """`environment`: where the libraries find the identity of the pod. Raises DownloadFailed."""
        self._request = request
        bucket, _, prefix = request.repository.partition("://")[2].partition("/")
        self._prefix = prefix.strip("/")
        self._denied = _advice(request)
        self._keys: dict[str, str] = {}
        """Of the objects, by the paths of their files."""
        try:
            self._store = _store(request, bucket, environment)
        except (BaseError, OSError, ValueError) as error:
            message = f"{request.repository} cannot be opened: the credentials of {_field(request)} are not valid"
            raise DownloadFailed(FailureKind.INVALID, message) from error

    def close(self) -> None:
        return None

    def listing(self) -> Listing:
        try:
            objects = [found for page in obstore.list(self._store, self._prefix or None) for found in page]
            if self._prefix and not objects:
                objects = [obstore.head(self._store, self._prefix)]
        except FileNotFoundError:
            message = f"{self._request.repository} does not exist, or holds no objects"
            raise DownloadFailed(FailureKind.NOT_FOUND, message) from None
        except (BaseError, OSError, ValueError) as error:
            raise translated(error, self._request.repository, self._denied) from None
        self._keys = {self._name(found["path"]): found["path"] for found in objects}
        files = [
            RemoteFile(self._name(found["path"]), found["size"], version=found["e_tag"] or None) for found in objects
        ]
        kept = wanted(files, self._request.allow_patterns, self._request.ignore_patterns)
        return Listing(_revision(kept), kept)

    def read(self, file: RemoteFile, revision: str, start: int, end: int) -> Iterator[bytes]:
        what, key = f"{file.path} of {self._request.repository}", self._keys[file.path]
        return read_range(self._store, key, start, end, what=what, if_match=file.version, denied=self._denied)

    def _name(self, key: str) -> str:
        return PurePosixPath(key).name if key == self._prefix else key.removeprefix(f"{self._prefix}/")


def _revision(files: tuple[RemoteFile, ...]) -> str:
    """Changes with any file: buckets have no revision of their own."""
    content = json.dumps([[file.path, file.size_bytes, file.version] for file in sorted(files, key=lambda f: f.path)])
    return hashlib.sha256(content.encode()).hexdigest()[:40]


def _store(request: DownloadRequest, bucket: str, environment: dict[str, str]) -> "ObjectStore":
    anonymous = not request.credentials and not any(name.startswith(_IDENTITY_OF_PODS) for name in environment)
    options: dict[str, Any] = {"client_options": client_options(), "retry_config": RETRY}
    if anonymous:
        options["skip_signature"] = True
    for variable, value in request.credentials.items():
        options[_OPTIONS[variable]] = value
    if request.kind is SourceKind.GS:
        if request.endpoint:
            options["base_url"] = request.endpoint
        return GCSStore(bucket, **options)
    if request.endpoint:
        options["endpoint"] = request.endpoint
    if request.kind is SourceKind.AZ:
        return AzureStore(bucket, account_name=request.region, **options)
    return S3Store(bucket, region=request.region, **options)


_OPTIONS = {
    "AWS_ACCESS_KEY_ID": "access_key_id",
    "AWS_SECRET_ACCESS_KEY": "secret_access_key",
    "AWS_SESSION_TOKEN": "session_token",
    "AZURE_STORAGE_ACCOUNT_KEY": "account_key",
    "AZURE_STORAGE_SAS_TOKEN": "sas_key",
    "GOOGLE_SERVICE_ACCOUNT_KEY": "service_account_key",
}
"""The libraries' options, by the keys of the Secret."""


def _field(request: DownloadRequest) -> str:
    return f"source.{request.kind}.secretRef"


def _advice(request: DownloadRequest) -> str:
    if request.credentials:
        return f"the keys of {_field(request)} give no access to it: replace them, or allow reading and listing"
    return f"it may be private: no keys are named in {_field(request)}"
