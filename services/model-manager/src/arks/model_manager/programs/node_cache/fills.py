"""Fill the copies that a node keeps, one at a time, and remove the others."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from arks.contracts.resources import CopyPhase
from arks.model_manager.domain.failures import DownloadFailed, Failure, FailureKind
from arks.model_manager.domain.node_cache.copies import AgentState, Copy, CopyState
from arks.model_manager.domain.node_cache.tickets import Tickets, namespace_key
from arks.model_manager.programs.byte_counter import ByteCounter
from arks.model_manager.programs.node_cache.disk import CopyDisk
from arks.model_manager.programs.repository import download_repository
from arks.model_manager.programs.sources.peers import Peers

log = structlog.get_logger(__name__)

CHECK_SECONDS = 15.0
"""Interval of checks of complete copies, by name and size."""


@dataclass(slots=True)
class _Failed:
    failure: Failure
    count: int
    """In a row, without a byte between them."""
    retry_at: float
    """Monotonic."""
    sources: tuple[str, ...]
    done_bytes: int


class Fills:
    def __init__(self, disk: CopyDisk, key: str, *, connections: int, bytes_per_second: int | None) -> None:
        """`key`: of the installation. `bytes_per_second`: of each fill; None: as fast as it goes."""
        self._disk = disk
        self._key = key
        self._connections = connections
        self._bytes_per_second = bytes_per_second
        self._copies: tuple[Copy, ...] | None = None
        """None until model-manager has sent the list: nothing is removed before."""
        self._failed: dict[str, _Failed] = {}
        self._running: tuple[Copy, ByteCounter] | None = None
        self._changed = asyncio.Event()

    async def keep(self, copies: Sequence[Copy]) -> AgentState:
        """From now on the node keeps these. Returns the state of each. Raises OSError."""
        if self._copies is None or tuple(copies) != self._copies:
            self._copies = tuple(copies)
            self._forget_failures()
            self._changed.set()
        if self._running is not None and not any(_same(self._running[0], copy) for copy in copies):
            self._running[1].stopped = True
        state = await asyncio.to_thread(lambda: self._disk.agent_state([self._state(copy) for copy in copies]))
        pairs = zip(copies, state.copies, strict=True)
        if any(copy.sources and found.phase is CopyPhase.WAITING for copy, found in pairs):
            self._changed.set()  # one that was complete and was damaged since
        return state

    async def found(self) -> AgentState:
        """The copies that the node has. Raises OSError."""
        return await asyncio.to_thread(lambda: self._disk.agent_state(self._disk.found()))

    async def run(self) -> None:
        """Until it is cancelled; a fill ends then."""
        while True:
            self._changed.clear()
            if self._copies is not None:
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(self._disk.keep, self._copies)
                for kept in self._copies:
                    await self._show(kept)
                while (copy := await self._next()) is not None:
                    await self._fill(copy)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._wait_seconds())

    async def _show(self, copy: Copy) -> None:
        """Again too, because its namespace can change the volume."""
        try:
            await asyncio.to_thread(self._disk.show, copy)
        except OSError as error:
            self._remember(copy, _disk_failed(error), ByteCounter())

    async def _next(self) -> Copy | None:
        """The next copy to fill: it has sources, is not complete, and is not waiting for a retry."""
        if self._changed.is_set():
            return None
        for copy in self._copies or ():
            failed = self._failed.get(_name(copy))
            waits = failed is not None and failed.retry_at > time.monotonic()
            if copy.sources and not waits and not await asyncio.to_thread(self._disk.is_complete, copy):
                return copy
        return None

    async def _fill(self, copy: Copy) -> None:
        counter = ByteCounter()
        self._running = copy, counter
        log.info("fill begins", model=_name(copy), sources=copy.sources)
        try:
            await asyncio.to_thread(self._download, copy, counter)
        except DownloadFailed as error:
            if not counter.stopped or error.kind is not FailureKind.NETWORK:
                self._remember(copy, Failure(error.kind, str(error)), counter)
        except OSError as error:
            self._remember(copy, _disk_failed(error), counter)
        except Exception as error:  # the listing is of a tenant's pod: it fails its own copy alone
            log.exception("fill failed", model=_name(copy))
            self._remember(copy, Failure(FailureKind.INVALID, f"its source lists {type(error).__name__}"), counter)
        else:
            self._failed.pop(_name(copy), None)
            log.info("fill ended", model=_name(copy), bytes=counter.total_bytes)
        finally:
            counter.stopped = True  # the thread of a cancelled fill
            self._running = None

    def _download(self, copy: Copy, counter: ByteCounter) -> None:
        tickets = Tickets(namespace_key(self._key, copy.namespace))
        connections, rate = self._connections, self._bytes_per_second
        request = self._disk.request(copy, connections=connections, bytes_per_second=rate)
        download_repository(request, counter, self._disk.read, lambda _: Peers(copy, tickets))
        self._disk.show(copy)

    def _remember(self, copy: Copy, failure: Failure, counter: ByteCounter) -> None:
        before = self._failed.get(_name(copy))
        progressed = before is not None and counter.report().done_bytes > before.done_bytes
        count = 1 if before is None or progressed else before.count + 1
        retry_at = time.monotonic() + failure.retry_seconds(count)
        self._failed[_name(copy)] = _Failed(failure, count, retry_at, copy.sources, counter.report().done_bytes)
        log.warning("fill failed", model=_name(copy), reason=failure.message, bytes=counter.report().done_bytes)

    def _forget_failures(self) -> None:
        """Retry at once what has other sources now, and forget copies that are kept no longer."""
        kept = {_name(copy): copy.sources for copy in self._copies or ()}
        lost = {name for name, failed in self._failed.items() if kept.get(name) != failed.sources}
        for name in lost:
            if name not in kept:
                del self._failed[name]
            elif self._failed[name].failure.kind is FailureKind.NETWORK:
                self._failed[name].retry_at = 0.0

    def _wait_seconds(self) -> float:
        retries = [failed.retry_at - time.monotonic() for failed in self._failed.values()]
        return max(0.05, min([CHECK_SECONDS, *retries]))

    def _state(self, copy: Copy) -> CopyState:
        state = self._disk.state(copy)
        if state.phase is CopyPhase.COMPLETE:
            return state
        running = self._running
        if running is not None and _same(running[0], copy):
            report = running[1].report()
            return replace(
                state, phase=CopyPhase.FILLING, done_bytes=report.done_bytes, total_bytes=report.total_bytes or 0
            )
        failed = self._failed.get(_name(copy))
        if failed is None:
            return state
        attention = failed.failure.needs_attention(failed.count)
        phase = CopyPhase.FAILED if attention else CopyPhase.FILLING
        return replace(state, phase=phase, message=failed.failure.message)


def _disk_failed(error: OSError) -> Failure:
    return Failure(FailureKind.STORAGE, f"the disk of the cache: {error.strerror}")


def _name(copy: Copy) -> str:
    return f"{copy.namespace}/{copy.model}/{copy.version}"


def _same(first: Copy, second: Copy) -> bool:
    return (_name(first), first.path) == (_name(second), second.path)
