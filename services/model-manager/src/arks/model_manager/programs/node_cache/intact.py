"""Check that the agent's files still have the content that was checked when they came.

A process of a tenant that runs as root can write to them through the volume of its namespace. It cannot hide that: a
change of content changes the inode's ctime, which no program sets. So a file is hashed again only if its state is
another one than at the last check.
"""

import asyncio
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from arks.model_manager.adapters.marker import StoredFile
from arks.model_manager.programs.file_hash import difference
from arks.model_manager.programs.sources.source import RemoteFile

log = structlog.get_logger(__name__)

WAIT_SECONDS = 20.0
"""A request for a file that is being hashed waits for so long: less than what its client waits for a byte."""
_MOST_FILES = 100_000
_State = tuple[int, int, int, int]


class Intact:
    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Path, RemoteFile], _State] = OrderedDict()
        self._running: dict[Path, asyncio.Future[bool]] = {}
        self._one = ThreadPoolExecutor(1, "intact")
        """Hashes one file at a time: the node's processors are the engines'."""

    async def holds(self, path: Path, file: StoredFile) -> bool:
        """Whether the content is that of the file. One that is not is removed, so that it is fetched again.

        Raises TimeoutError while the file is hashed: the result is for the next request.
        """
        running = self._running.get(path)
        if running is None:
            expected = remote(file)
            if await asyncio.to_thread(self._is_known, path, expected):
                return True
            running = self._running.get(path) or asyncio.get_running_loop().run_in_executor(
                self._one, self._check, path, expected
            )
            self._running[path] = running
            running.add_done_callback(lambda _: self._running.pop(path, None))
        return await asyncio.wait_for(asyncio.shield(running), WAIT_SECONDS)

    def _is_known(self, path: Path, expected: RemoteFile) -> bool:
        try:
            return self._known.get((path, expected)) == _state(path)
        except OSError:
            return False

    def _check(self, path: Path, expected: RemoteFile) -> bool:
        try:
            before = _state(path)
            fault = difference(path, expected)
        except OSError as error:  # one whose owner or mode was changed
            before, fault = None, str(error.strerror)
        if fault:
            log.warning("file was changed", path=str(path), fault=fault)
            path.unlink(missing_ok=True)
            self._known.pop((path, expected), None)
            return False
        if before is not None:
            self._known[path, expected] = before
            while len(self._known) > _MOST_FILES:
                self._known.popitem(last=False)
        return True


def remote(file: StoredFile) -> RemoteFile:
    """As a source lists it, with the hash that was computed if the model's source gave none."""
    sha256 = file.sha256 or file.content_sha256
    return RemoteFile(file.path, file.size_bytes, sha256=sha256, git_sha1=None if sha256 else file.git_sha1)


def _state(path: Path) -> _State:
    """Taken before the content is read: what changes meanwhile is noticed at the next request."""
    state = os.lstat(path)
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
