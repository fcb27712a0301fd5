"""What running engines take in a request and do not keep, beyond their profile: each is queried once it is ready.

Until an engine has answered, nothing is known of it, so nothing is refused for its sake.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from arks.app_deployer.domain.workload import ObservedWorkload
from arks.contracts.resources import InstanceState
from arks.kit.errors import Unavailable
from arks.kit.key import Key

_MOST = 256
"""Engines that wait; further ones are queried after the next change of their application."""
_AT_ONCE = 8
_TRIES = 3
"""Of one engine, until the next change of its application."""
_PAUSE_SECONDS = 0.5


class Reader(Protocol):
    async def unsupported(self, port: int, model: str, host: str) -> frozenset[str]:
        """Names of `arks.contracts.uses`. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class _Engine:
    """An engine that starts again is another one: its model may be too."""

    application: Key
    replica: str
    host: str
    port: int
    restarts: int
    model: str
    """The name that it serves."""


class EngineUses:
    def __init__(self, reader: Reader, pause_seconds: float = _PAUSE_SECONDS) -> None:
        """`pause_seconds`: before an engine that did not answer is queried again."""
        self._reader = reader
        self._pause_seconds = pause_seconds
        self._known: defaultdict[Key, dict[_Engine, frozenset[str]]] = defaultdict(dict)
        """Empty for engines that have not answered."""
        self._due: asyncio.Queue[_Engine] = asyncio.Queue(_MOST)
        self._listeners: list[Callable[[Key], None]] = []

    def subscribe(self, listener: Callable[[Key], None]) -> None:
        """`listener` is called with an application of which more has become known. It must not block."""
        self._listeners.append(listener)

    def of(self, application: Key, model: str, observed: ObservedWorkload) -> frozenset[str]:
        """What at least one of its engines does not keep, as far as it is known; engines not queried yet will be."""
        known = self._known[application]
        engines = {
            _Engine(application, replica.name, replica.host, replica.port, replica.restarts, model): replica.state
            for replica in observed.replicas
        }
        for ended in known.keys() - engines.keys():
            del known[ended]
        for engine, state in engines.items():
            if state is InstanceState.READY and engine not in known and not self._due.full():
                known[engine] = frozenset()
                self._due.put_nowait(engine)
        return frozenset[str]().union(*known.values())

    def forget(self, application: Key) -> None:
        self._known.pop(application, None)

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            engine = await self._due.get()
            found = await self._read(engine)
            known = self._known.get(engine.application, {})
            if found is None:
                known.pop(engine, None)
            elif found and engine in known:
                known[engine] = found
                for listener in self._listeners:
                    listener(engine.application)

    async def _read(self, engine: _Engine) -> frozenset[str] | None:
        """None if it does not answer."""
        for _ in range(_TRIES):
            try:
                return await self._reader.unsupported(engine.port, engine.model, engine.host)
            except Unavailable:
                await asyncio.sleep(self._pause_seconds)
        return None
