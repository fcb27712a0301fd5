"""Agents and exports in the process of a test."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from arks.contracts.resources import CopyPhase
from arks.kit.testing.wait import eventually
from arks.kit.testing.web import serving
from arks.model_manager.config import ExportSettings, NodeCacheSettings
from arks.model_manager.domain.node_cache import tickets
from arks.model_manager.domain.node_cache.copies import (
    COPIES,
    AgentState,
    Copy,
    CopyState,
    copies_to_json,
    state_from_json,
)
from arks.model_manager.programs.node_cache import agent, export

KEY = "a-key-of-the-installation"
PATH = "models/team-a/tiny"


@dataclass(frozen=True)
class Node:
    """An agent and its directory."""

    url: str
    root: Path

    async def keep(self, copies: Sequence[Copy], key: str = KEY) -> AgentState:
        headers = {"authorization": f"Bearer {tickets.ticket(tickets.control_key(key), time.time())}"}
        async with (
            aiohttp.ClientSession() as session,
            session.put(f"{self.url}{COPIES}", data=copies_to_json(copies), headers=headers) as response,
        ):
            response.raise_for_status()
            return state_from_json(await response.read())

    async def state(self, copy: Copy) -> CopyState:
        return (await self.keep([copy])).copies[0]

    async def reaches(self, copy: Copy, phase: CopyPhase) -> CopyState:
        return await self.when(copy, lambda state: state.phase is phase)

    async def when(self, copy: Copy, condition: Callable[[CopyState], bool]) -> CopyState:
        """The first state of the copy for which the condition holds."""
        states: list[CopyState] = []

        async def holds() -> bool:
            states.append(await self.state(copy))
            return condition(states[-1])

        await eventually(holds)
        return states[-1]

    def files(self, path: str = PATH, namespace: str = "team-a") -> dict[str, bytes]:
        """What engines of the namespace find."""
        directory = self.root / "namespaces" / namespace / path
        found = (file for file in directory.rglob("*") if file.is_file() and ".arks" not in file.parts)
        return {str(file.relative_to(directory)): file.read_bytes() for file in found}


def agent_settings(root: Path, key_file: Path, **settings: object) -> NodeCacheSettings:
    """Settings of an agent that fills any disk: a test must not depend on how full that of its machine is."""
    marks = {"node_cache_high_percent": 100.0, "node_cache_low_percent": 100.0}
    values = {"node_cache_dir": root, "node_cache_key_file": key_file} | marks | settings
    return NodeCacheSettings(**values)  # type: ignore[arg-type]


@asynccontextmanager
async def node(root: Path, key_file: Path, **settings: object) -> AsyncIterator[Node]:
    """An agent in this process."""
    application, fills = agent.build(agent_settings(root, key_file, **settings))
    async with serving(application) as port:
        running = asyncio.create_task(fills.run())
        try:
            yield Node(f"http://127.0.0.1:{port}", root)
        finally:
            running.cancel()
            await asyncio.wait([running])


@asynccontextmanager
async def exported(directory: Path, namespace: str = "team-a", model: str = "tiny") -> AsyncIterator[str]:
    """The export of a PVC, in this process."""
    settings = ExportSettings(
        export_namespace=namespace,
        export_model=model,
        export_path=str(directory),
        export_key=tickets.namespace_key(KEY, namespace),
    )
    async with serving(export.build(settings)) as port:
        yield f"http://127.0.0.1:{port}"
