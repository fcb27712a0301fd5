"""The directory of a node's copies.

`.arks` is the agent's alone: `.arks/copies/<namespace>/<model>` is the directory of a copy, with its marker and partial
files, and `.arks/store/<namespace>` shares equal content within the namespace, by hard links. `namespaces/<namespace>`
is the volume of a namespace, which engines mount: what it shows are links to the files of complete copies, and nothing
is read from it (`volume`). Namespaces share no content: what one of them changes in its volume reaches no other.
Blocking.
"""

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import structlog

from arks.contracts.resources import SUB_PATH_PATTERN, CopyPhase
from arks.model_manager.adapters import marker
from arks.model_manager.adapters.collector import ReadDisk, read_disk
from arks.model_manager.domain.garbage import Watermarks
from arks.model_manager.domain.node_cache.copies import AgentState, Copy, CopyState, version_of
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.domain.storage_path import ARKS_DIRECTORY, is_reserved
from arks.model_manager.programs.node_cache.volume import Volume

log = structlog.get_logger(__name__)

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


class CopyDisk:
    def __init__(self, root: Path, marks: Watermarks, read: ReadDisk = read_disk) -> None:
        self._root = root
        self._own = root / ARKS_DIRECTORY
        self._copies = self._own / "copies"
        self._namespaces = root / "namespaces"
        self._marks = marks
        self.read = read

    def directory(self, namespace: str, model: str) -> Path:
        """Of a copy: the agent's own."""
        return self._copies / namespace / model

    def directory_of(self, namespace: str, model: str) -> Path | None:
        """For names that a request gives; None if there is no such copy."""
        return self.directory(namespace, model) if (namespace, model) in self._known() else None

    def is_complete(self, copy: Copy) -> bool:
        """Whether all files of this version are there, by names, sizes and times."""
        return self._complete(copy) is not None

    def is_shown(self, copy: Copy) -> bool:
        """Whether engines find this version of the copy."""
        complete = self._complete(copy)
        return complete is not None and self._shows(copy, complete)

    def show(self, copy: Copy) -> None:
        """Let engines find the copy, if it is complete. Raises OSError."""
        complete = self._complete(copy)
        if complete is not None and not self._shows(copy, complete):
            names = [file.path for file in complete.files]
            self._volume(copy.namespace).show(copy.path, self.directory(copy.namespace, copy.model), names)

    def state(self, copy: Copy) -> CopyState:
        """Complete, or waiting."""
        complete = self._complete(copy)
        state = CopyState(copy.namespace, copy.model, copy.version, CopyPhase.WAITING)
        if complete is None or not self._shows(copy, complete):
            return state
        size = sum(file.size_bytes for file in complete.files)
        return replace(state, phase=CopyPhase.COMPLETE, done_bytes=size, total_bytes=size)

    def agent_state(self, copies: Iterable[CopyState]) -> AgentState:
        """Raises OSError."""
        self._prepare()
        disk = self.read(self._root)
        return AgentState(tuple(copies), disk.total_bytes, disk.free_bytes)

    def request(self, copy: Copy, *, connections: int, bytes_per_second: int | None) -> DownloadRequest:
        """The download of a copy. It leaves the disk below its high watermark. Raises OSError."""
        self._prepare()
        stores = self._own / "store"
        total_bytes = self.read(self._root).total_bytes
        return DownloadRequest(
            directory=str(self.directory(copy.namespace, copy.model)),
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
        """Remove all other copies, and all else that is in the volumes. Their content stays until its space is needed.

        Raises OSError.
        """
        kept = tuple(copies)
        names = {(copy.namespace, copy.model) for copy in kept}
        for namespace, model in self._known():
            if (namespace, model) not in names:
                shutil.rmtree(self.directory(namespace, model), ignore_errors=True)
        for namespace in _directories(self._namespaces):
            try:
                self._volume(namespace).keep(copy.path for copy in kept if copy.namespace == namespace)
            except OSError as error:  # a volume whose owner or mode was changed is its namespace's own problem
                log.warning("volume cannot be cleaned", namespace=namespace, error=error.strerror)

    def found(self) -> list[CopyState]:
        """Of the copies that the node has, whatever it is to keep: for a model-manager that has just started."""
        return [self._found(namespace, model) for namespace, model in self._known()]

    def _found(self, namespace: str, model: str) -> CopyState:
        complete = _unchanged(self.directory(namespace, model))
        if complete is None:
            return CopyState(namespace, model, "", CopyPhase.WAITING)
        version = version_of(complete.fingerprint, complete.revision)
        size = sum(file.size_bytes for file in complete.files)
        return CopyState(namespace, model, version, CopyPhase.COMPLETE, size, size)

    def _complete(self, copy: Copy) -> marker.Complete | None:
        complete = _unchanged(self.directory(copy.namespace, copy.model))
        if complete is None or (complete.fingerprint, complete.revision) != (copy.fingerprint, copy.revision):
            return None
        return complete

    def _shows(self, copy: Copy, complete: marker.Complete) -> bool:
        names = [file.path for file in complete.files]
        content = self.directory(copy.namespace, copy.model)
        return self._volume(copy.namespace).shows(copy.path, content, names)

    def _volume(self, namespace: str) -> Volume:
        return Volume(self._namespaces / namespace)

    def _known(self) -> list[tuple[str, str]]:
        return [
            (namespace, model)
            for namespace in _directories(self._copies)
            for model in _directories(self._copies / namespace)
        ]

    def _prepare(self) -> None:
        self._own.mkdir(mode=0o700, parents=True, exist_ok=True)


def is_safe(copy: Copy) -> bool:
    """Whether its directory is inside the volume of its namespace."""
    names = all(_NAME.fullmatch(name) and ".." not in name for name in (copy.namespace, copy.model))
    path = re.fullmatch(SUB_PATH_PATTERN, copy.path) is not None and ".." not in copy.path.split("/")
    return names and path and not is_reserved(copy.path)


def _unchanged(directory: Path) -> marker.Complete | None:
    """The marker of a copy, if its files have the names, sizes and times that it lists."""
    complete = marker.read_complete(directory)
    if complete is None or marker.broken_files(directory, complete.files):
        return None
    try:
        same = all((directory / file.path).lstat().st_mtime_ns == file.modified_ns for file in complete.files)
    except FileNotFoundError:
        return None
    return complete if same else None


def _directories(above: Path) -> Iterator[str]:
    """Their names, sorted; none if `above` does not exist."""
    if above.is_dir():
        yield from sorted(entry.name for entry in above.iterdir() if entry.is_dir())
