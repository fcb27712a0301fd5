"""Storage on one machine: a directory a model under the state directory, filled by download processes."""

import asyncio
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from arks.contracts.resources import ArksModelSpec
from arks.contracts.subjects import encode
from arks.kit.key import Key
from arks.model_manager.adapters.local import directory
from arks.model_manager.adapters.local.downloads import Loads
from arks.model_manager.domain.observation import Content, Loading, LoadState, Stored
from arks.model_manager.domain.path_use import Removal
from arks.model_manager.domain.protocol import CheckRequest, HubRequest, Request
from arks.model_manager.domain.source import Order, SourceKind

_FILE = "file:"
"""Begins the place of a file source: nobody shares it, nothing is kept there."""


class LocalStorage:
    def __init__(self, state_directory: Path, loads: Loads, *, connections: int, reserve_bytes: int) -> None:
        self._root = state_directory.absolute() / "models"
        self._records = state_directory.absolute() / "model-manager" / "checked"
        self._loads = loads
        self._connections = connections
        self._reserve_bytes = reserve_bytes
        self._versions: dict[str, tuple[int, int, int] | None] = {}
        """Of the files that checks have begun on."""

    def follow(self, changed: Callable[[str], None]) -> None:
        """`changed` is called with the place whenever its state or progress changes."""
        self._loads.changed = changed

    def place(self, key: Key, spec: ArksModelSpec) -> str:
        if spec.source is not None and spec.source.file is not None:
            return f"{_FILE}{encode(key.namespace)}.{encode(key.name)}"
        if spec.storage is not None and spec.storage.sub_path is not None:
            return str(PurePosixPath(spec.storage.sub_path))
        return f"{key.namespace}/{key.name}"

    async def observe(self, place: str, order: Order) -> tuple[Stored, Loading | None]:
        try:
            stored = await asyncio.to_thread(self._inspect, place, order)
        except OSError as error:
            stored = Stored(Content.REFUSED, message=f"{error.filename or place} cannot be read: {error.strerror}")
        return stored, await self._loading(place, order)

    async def prepare(self, place: str, key: Key) -> None:
        await asyncio.to_thread(directory.create, self._directory(place), self._root, str(key))

    async def load(self, place: str, key: Key, order: Order, token: str | None) -> None:
        loading = self._loads.state(place)
        if loading is not None and loading.fingerprint != order.fingerprint:
            await self._loads.stop(place)
        if order.kind is SourceKind.FILE:
            self._versions[place] = directory.version_of(Path(order.path))
        self._loads.start(place, self._request(place, order, token), order.fingerprint)

    async def stop(self, place: str) -> None:
        await self._loads.stop(place)

    async def remove(self, place: str, key: Key, *, shared: bool) -> Removal:
        if shared:
            return Removal.SHARED
        self._versions.pop(place, None)
        if place.startswith(_FILE):
            self._record(place).unlink(missing_ok=True)
            return Removal.KEPT
        return await asyncio.to_thread(directory.remove, self._directory(place), self._root)

    async def sweep(self) -> None:
        """At the start: finish what a kill has cut short."""
        await asyncio.to_thread(directory.sweep, self._root)

    def _inspect(self, place: str, order: Order) -> Stored:
        if directory.is_reserved(place):
            return Stored(Content.REFUSED, message=f"storage.subPath {place} is for Arks itself; give another one")
        match order.kind:
            case SourceKind.FILE:
                return directory.inspect_file(order, self._record(place))
            case SourceKind.STORED:
                return directory.inspect_stored(self._directory(place))
            case SourceKind.HUB:
                return directory.inspect_hub(self._directory(place), order.fingerprint)

    async def _loading(self, place: str, order: Order) -> Loading | None:
        """A failed check of a file says nothing about the file that lies there now."""
        loading = self._loads.state(place)
        if order.kind is not SourceKind.FILE or loading is None or loading.state is not LoadState.FAILED:
            return loading
        if self._versions.get(place) == directory.version_of(Path(order.path)):
            return loading
        await self._loads.stop(place)
        return None

    def _request(self, place: str, order: Order, token: str | None) -> Request:
        if order.kind is SourceKind.FILE:
            return CheckRequest(order.path, order.sha256 or "", str(self._record(place)))
        return HubRequest(
            directory=str(self._directory(place)),
            fingerprint=order.fingerprint,
            repository=order.repository,
            endpoint=order.endpoint,
            revision=order.revision,
            allow_patterns=order.allow_patterns,
            ignore_patterns=order.ignore_patterns,
            token=token,
            connections=self._connections,
            reserve_bytes=self._reserve_bytes,
        )

    def _directory(self, place: str) -> Path:
        return self._root / place

    def _record(self, place: str) -> Path:
        return self._records / f"{place.removeprefix(_FILE)}.json"
