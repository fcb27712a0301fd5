"""The directory of a node's copies.

`namespaces/<namespace>` is the volume of a namespace: engines of that namespace mount it, and nothing else. Content is
shared by hard links through `.arks/store/<namespace>`, outside of every volume. `copies.json` lists the directories
that may exist, so that those of copies which are kept no longer are removed after a restart too. Blocking.
"""

import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from arks.contracts.resources import SUB_PATH_PATTERN, CopyPhase
from arks.kit.files import write_atomically
from arks.model_manager.adapters import marker
from arks.model_manager.adapters.collector import ReadDisk, read_disk
from arks.model_manager.domain.garbage import Watermarks
from arks.model_manager.domain.node_cache.copies import AgentState, Copy, CopyState, version_of
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.domain.storage_path import ARKS_DIRECTORY, is_reserved, overlap

_LIST = "copies.json"
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_Entry = tuple[str, str, str]
"""Namespace, model and path."""


class CopyDisk:
    def __init__(self, root: Path, marks: Watermarks, read: ReadDisk = read_disk) -> None:
        self._root = root
        self._marks = marks
        self.read = read

    def directory(self, namespace: str, path: str) -> Path:
        return self._root / "namespaces" / namespace / path

    def is_complete(self, copy: Copy) -> bool:
        """Whether all files of this version are there, by names and sizes."""
        return self._complete(copy) is not None

    def state(self, copy: Copy) -> CopyState:
        """Complete, or waiting."""
        complete = self._complete(copy)
        state = CopyState(copy.namespace, copy.model, copy.version, CopyPhase.WAITING)
        if complete is None:
            return state
        size = sum(file.size_bytes for file in complete.files)
        return replace(state, phase=CopyPhase.COMPLETE, done_bytes=size, total_bytes=size)

    def agent_state(self, copies: Iterable[CopyState]) -> AgentState:
        """Raises OSError."""
        self._root.mkdir(parents=True, exist_ok=True)
        disk = self.read(self._root)
        return AgentState(tuple(copies), disk.total_bytes, disk.free_bytes)

    def request(self, copy: Copy, *, connections: int, bytes_per_second: int | None) -> DownloadRequest:
        """The download of a copy. It leaves the disk below its high watermark. Raises OSError."""
        stores = self._root / ARKS_DIRECTORY / "store"
        total_bytes = self.read(self._root).total_bytes
        return DownloadRequest(
            directory=str(self.directory(copy.namespace, copy.path)),
            fingerprint=copy.fingerprint,
            repository=f"{copy.namespace}/{copy.model}",
            endpoint="",
            revision=copy.revision,
            connections=connections,
            bytes_per_second=bytes_per_second,
            reserve_bytes=int(total_bytes * (1 - self._marks.high_percent / 100)),
            store=str(stores / copy.namespace),
            stores=str(stores),
            high_percent=self._marks.high_percent,
            low_percent=self._marks.low_percent,
        )

    def keep(self, copies: Iterable[Copy]) -> None:
        """Remove all other copies. Their content stays until its space is needed. Raises OSError."""
        kept = {(copy.namespace, copy.model, copy.path) for copy in copies}
        known = self._known()
        for entry in sorted(known - kept):
            namespace, _, path = entry
            if not any(other[0] == namespace and overlap(other[2], path) for other in kept):
                shutil.rmtree(self.directory(namespace, path), ignore_errors=True)
        if known != kept:
            self._root.mkdir(parents=True, exist_ok=True)
            write_atomically(self._root / _LIST, json.dumps(sorted(kept)), durable=True)

    def found(self) -> list[CopyState]:
        """Of the copies that the node has, whatever it is to keep: for a model-manager that has just started."""
        return [self._found(namespace, model, path) for namespace, model, path in sorted(self._known())]

    def _found(self, namespace: str, model: str, path: str) -> CopyState:
        directory = self.directory(namespace, path)
        complete = marker.read_complete(directory)
        if complete is None or marker.broken_files(directory, complete.files):
            return CopyState(namespace, model, "", CopyPhase.WAITING)
        version = version_of(complete.fingerprint, complete.revision)
        size = sum(file.size_bytes for file in complete.files)
        return CopyState(namespace, model, version, CopyPhase.COMPLETE, size, size)

    def directory_of(self, namespace: str, model: str) -> Path | None:
        """Of a copy that is or was kept; None for others."""
        found = [path for other, name, path in self._known() if (other, name) == (namespace, model)]
        return self.directory(namespace, found[0]) if found else None

    def _complete(self, copy: Copy) -> marker.Complete | None:
        directory = self.directory(copy.namespace, copy.path)
        complete = marker.read_complete(directory)
        if complete is None or (complete.fingerprint, complete.revision) != (copy.fingerprint, copy.revision):
            return None
        return None if marker.broken_files(directory, complete.files) else complete

    def _known(self) -> set[_Entry]:
        try:
            return {(namespace, model, path) for namespace, model, path in json.loads((self._root / _LIST).read_text())}
        except (OSError, ValueError):
            return set()


def is_safe(copy: Copy) -> bool:
    """Whether its directory is inside the volume of its namespace."""
    names = all(_NAME.fullmatch(name) and ".." not in name for name in (copy.namespace, copy.model))
    path = re.fullmatch(SUB_PATH_PATTERN, copy.path) is not None and ".." not in copy.path.split("/")
    return names and path and not is_reserved(copy.path)
