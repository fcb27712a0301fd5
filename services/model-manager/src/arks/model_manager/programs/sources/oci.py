"""Artifacts of OCI registries: every layer is a file, named by its title, and checked by its digest.

Follows the OCI distribution specification 1.1, and names layers as ORAS, CNCF ModelPack and Ollama do.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx2

from arks.model_manager.domain.failures import DownloadFailed, FailureKind
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.programs.sources.oci_login import Login
from arks.model_manager.programs.sources.oci_reference import Reference
from arks.model_manager.programs.sources.patterns import wanted
from arks.model_manager.programs.sources.remote import CONNECT_SECONDS, READ_SECONDS, http_store, read_range, read_whole
from arks.model_manager.programs.sources.source import Listing, RemoteFile

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_NAMES = ("org.opencontainers.image.title", "org.cncf.model.filepath")
"""Annotations that hold a layer's file name."""
_OLLAMA_MODEL = "application/vnd.ollama.image.model"
_MAX_MANIFEST_BYTES = 4 << 20


class Artifact:
    def __init__(self, request: DownloadRequest) -> None:
        self._request = request
        self._reference = Reference.parse(request.repository)
        timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        self._client = httpx2.Client(follow_redirects=True, timeout=timeout)
        self._login = Login(self._client, self._reference, request.credentials)
        self._base = f"{request.endpoint}://{self._reference.host}/v2/{self._reference.repository}"

    def close(self) -> None:
        self._client.close()

    def listing(self) -> Listing:
        manifest, digest = self._manifest(self._reference.version)
        if manifest.get("mediaType") in _INDEXES or "manifests" in manifest:
            manifest, digest = self._manifest(_only(manifest, self._request.repository))
        files = _files(manifest, self._request.repository)
        kept = wanted(files, self._request.allow_patterns, self._request.ignore_patterns)
        ranges = self._sends_ranges(kept[0]) if kept else True
        listed = [RemoteFile(file.path, file.size_bytes, sha256=file.sha256, ranges=ranges) for file in kept]
        return Listing(digest, tuple(listed))

    def read(self, file: RemoteFile, revision: str, start: int, end: int) -> Iterator[bytes]:
        """Tokens of registries expire within minutes: a refused range is requested once more with a new one."""
        position = start
        for fresh in (False, True):
            try:
                for block in self._blocks(file, position, end):
                    position += len(block)
                    yield block
                return
            except DownloadFailed as failure:
                if failure.kind is not FailureKind.DENIED or fresh or (position > start and not file.ranges):
                    raise
            self._login.renew(self._url(file))

    def _blocks(self, file: RemoteFile, start: int, end: int) -> Iterator[bytes]:
        store = http_store(self._url(file), self._login.headers)
        what = f"{file.path} of {self._request.repository}"
        if file.ranges:
            return read_range(store, "", start, end, what=what, denied=self._login.advice)
        return read_whole(store, "", what=what, denied=self._login.advice)

    def _url(self, file: RemoteFile) -> str:
        return f"{self._base}/blobs/sha256:{file.sha256}"

    def _sends_ranges(self, file: RemoteFile) -> bool:
        if not file.size_bytes:
            return True
        with self._login.stream(self._url(file), {"range": "bytes=0-0", "accept-encoding": "identity"}) as response:
            return response.status_code == 206

    def _manifest(self, version: str) -> tuple[dict[str, Any], str]:
        """The manifest of a tag or digest, and its digest."""
        accept = {"accept": ", ".join((*_MANIFESTS, *_INDEXES))}
        with self._login.stream(f"{self._base}/manifests/{version}", accept) as response:
            content = b""
            for block in response.iter_bytes():
                content += block
                if len(content) > _MAX_MANIFEST_BYTES:
                    raise self._invalid("has a manifest of more than 4 MiB")
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if version.startswith("sha256:") and version != digest:
            message = f"the manifest of {self._request.repository} has the digest {digest}"
            raise DownloadFailed(FailureKind.CORRUPT, message)
        try:
            manifest = json.loads(content)
        except ValueError as error:
            raise self._invalid("has a manifest that is no JSON") from error
        if not isinstance(manifest, dict):
            raise self._invalid("has a manifest that is no JSON object")
        return manifest, digest

    def _invalid(self, what: str) -> DownloadFailed:
        return DownloadFailed(FailureKind.INVALID, f"{self._request.repository} {what}")


def _only(index: dict[str, Any], repository: str) -> str:
    """The digest of an index' one manifest; of several, of the one for linux/amd64."""
    entries = [entry for entry in index.get("manifests", []) if isinstance(entry, dict)]
    amd64 = [entry for entry in entries if entry.get("platform", {}).get("architecture") == "amd64"]
    chosen = entries if len(entries) == 1 else amd64
    if len(chosen) != 1:
        message = f"{repository} names {len(entries)} manifests: give the digest of one in source.oci.reference"
        raise DownloadFailed(FailureKind.INVALID, message)
    return str(chosen[0]["digest"])


def _files(manifest: dict[str, Any], repository: str) -> list[RemoteFile]:
    try:
        named = [(_name(layer), layer) for layer in manifest["layers"]]
        files = [
            RemoteFile(name, int(layer["size"]), sha256=layer["digest"].removeprefix("sha256:"))
            for name, layer in named
            if name
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"{repository} has a manifest without layers of the OCI format"
        raise DownloadFailed(FailureKind.INVALID, message) from error
    if not files:
        advice = f"its layers have no names ({_NAMES[0]}): push the files as an artifact, as `oras push` does"
        raise DownloadFailed(FailureKind.INVALID, f"{repository} is not an artifact of files: {advice}")
    return files


def _name(layer: dict[str, Any]) -> str:
    annotations = layer.get("annotations") or {}
    if "+gzip" in layer["mediaType"] or layer["mediaType"].endswith(".tar"):
        return ""  # packed directories
    for annotation in _NAMES:
        if name := annotations.get(annotation):
            return str(name)
    return "model.gguf" if layer["mediaType"] == _OLLAMA_MODEL else ""
