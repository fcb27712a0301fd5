"""Storage on one machine: a directory per model under the state directory, filled by download processes."""

import asyncio
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from arks.contracts.resources import ArksModelSpec
from arks.contracts.subjects import encode
from arks.kit.key import Key
from arks.model_manager.adapters import inspection
from arks.model_manager.adapters.collector import Collector
from arks.model_manager.adapters.local import directory
from arks.model_manager.adapters.local.downloads import Downloads
from arks.model_manager.domain.credentials import Credentials
from arks.model_manager.domain.observation import Content, Download, DownloadState, StoredWeights
from arks.model_manager.domain.protocol import CheckRequest, Request
from arks.model_manager.domain.removal import Removal
from arks.model_manager.domain.request import Limits, request_of
from arks.model_manager.domain.source_kind import SourceKind
from arks.model_manager.domain.storage_path import ARKS_DIRECTORY, is_reserved
from arks.model_manager.domain.weights_source import WeightsSource

_FILE = "file:"
"""Begins the storage path of a file source, which no other model shares and in which nothing is kept."""


class LocalStorage:
    def __init__(self, state_directory: Path, downloads: Downloads, limits: Limits) -> None:
        self._root = state_directory.absolute() / "models"
        self._records = state_directory.absolute() / "model-manager" / "checked"
        self._downloads = downloads
        self._limits = limits
        self._checked_versions: dict[str, tuple[int, int, int] | None] = {}
        """Versions of files at the start of their checks."""

    def follow(self, changed: Callable[[str], None]) -> None:
        """`changed` is called with a storage path whenever its download's state or progress changes."""
        self._downloads.changed = changed

    def storage_path(self, key: Key, spec: ArksModelSpec) -> str:
        if spec.source is not None and spec.source.file is not None:
            return f"{_FILE}{encode(key.namespace)}.{encode(key.name)}"
        if spec.storage is not None and spec.storage.sub_path is not None:
            return str(PurePosixPath(spec.storage.sub_path))
        return f"{key.namespace}/{key.name}"

    async def observe(self, storage_path: str, source: WeightsSource) -> tuple[StoredWeights, Download | None]:
        try:
            stored = await asyncio.to_thread(self._inspect, storage_path, source)
        except OSError as error:
            message = f"{error.filename or storage_path} cannot be read: {error.strerror}"
            stored = StoredWeights(Content.REFUSED, message=message)
        return stored, await self._download_of(storage_path, source)

    async def prepare(self, storage_path: str, key: Key) -> None:
        await asyncio.to_thread(directory.create, self._directory(storage_path), self._root, str(key))

    async def download(self, storage_path: str, key: Key, source: WeightsSource, credentials: Credentials) -> None:
        download = self._downloads.get(storage_path)
        if download is not None and download.fingerprint != source.fingerprint:
            await self._downloads.stop(storage_path)
        if source.kind is SourceKind.FILE:
            self._checked_versions[storage_path] = inspection.version_of(Path(source.path))
        request = self._request(storage_path, key, source, credentials)
        self._downloads.start(storage_path, request, source.fingerprint)

    async def stop(self, storage_path: str) -> None:
        await self._downloads.stop(storage_path)

    async def remove(self, storage_path: str, key: Key, *, shared: bool) -> Removal:
        if shared:
            return Removal.SHARED
        self._checked_versions.pop(storage_path, None)
        if storage_path.startswith(_FILE):
            self._record(storage_path).unlink(missing_ok=True)
            return Removal.KEPT
        removal = await asyncio.to_thread(directory.remove, self._directory(storage_path), self._root)
        await self.collect()
        return removal

    async def sweep(self) -> None:
        """At the start: finish the removals that a kill interrupted."""
        await asyncio.to_thread(directory.sweep, self._root)

    async def collect(self) -> int:
        """Delete content that no model uses, if the watermarks require that. Returns its bytes."""
        return await asyncio.to_thread(Collector(self._stores, self._limits.marks).collect)

    def _inspect(self, storage_path: str, source: WeightsSource) -> StoredWeights:
        if is_reserved(storage_path):
            message = f"storage.subPath {storage_path} is reserved; choose another path"
            return StoredWeights(Content.REFUSED, message=message)
        match source.kind:
            case SourceKind.FILE:
                return inspection.inspect_file(source, self._record(storage_path))
            case SourceKind.STORED:
                return inspection.inspect_stored(self._directory(storage_path))
            case _:
                return inspection.inspect_hub(self._directory(storage_path), source.fingerprint)

    async def _download_of(self, storage_path: str, source: WeightsSource) -> Download | None:
        """The path's download. A failed check is forgotten if the file has changed since."""
        download = self._downloads.get(storage_path)
        if source.kind is not SourceKind.FILE or download is None or download.state is not DownloadState.FAILED:
            return download
        if self._checked_versions.get(storage_path) == inspection.version_of(Path(source.path)):
            return download
        await self._downloads.stop(storage_path)
        return None

    def _request(self, storage_path: str, key: Key, source: WeightsSource, credentials: Credentials) -> Request:
        if source.kind is SourceKind.FILE:
            return CheckRequest(source.path, source.sha256 or "", str(self._record(storage_path)))
        directory, store = str(self._directory(storage_path)), str(self._store(key))
        return request_of(source, directory, credentials, self._limits, store=store, stores=str(self._stores))

    def _directory(self, storage_path: str) -> Path:
        return self._root / storage_path

    def _store(self, key: Key) -> Path:
        """Models of one namespace share equal files: those of others may be private."""
        return self._stores / key.namespace

    @property
    def _stores(self) -> Path:
        return self._root / ARKS_DIRECTORY / "store"

    def _record(self, storage_path: str) -> Path:
        return self._records / f"{storage_path.removeprefix(_FILE)}.json"
