"""Requests to the agents of nodes."""

import time
from collections.abc import Callable, Sequence

import aiohttp

from arks.kit.errors import Unavailable
from arks.model_manager.domain.node_cache.copies import COPIES, AgentState, Copy, copies_to_json, state_from_json
from arks.model_manager.domain.node_cache.plan import CacheNode
from arks.model_manager.domain.node_cache.tickets import Tickets, control_key

_SECONDS = 5.0


class Agents:
    def __init__(self, key: str, now: Callable[[], float] = time.time) -> None:
        """`key`: of the installation. `now`: Unix seconds."""
        self._tickets = Tickets(control_key(key))
        self._now = now
        self._session: aiohttp.ClientSession | None = None

    async def found(self, node: CacheNode) -> AgentState:
        """Raises Unavailable."""
        return await self._request("GET", node, None)

    async def keep(self, node: CacheNode, copies: Sequence[Copy]) -> AgentState:
        """Raises Unavailable."""
        return await self._request("PUT", node, copies_to_json(copies))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _request(self, method: str, node: CacheNode, body: bytes | None) -> AgentState:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS))
        headers = {"authorization": f"Bearer {self._tickets.current(self._now())}"}
        try:
            async with self._session.request(method, node.url + COPIES, data=body, headers=headers) as response:
                if response.status != 200:
                    raise Unavailable(f"the agent of {node.name} answered {response.status}")
                return state_from_json(await response.read())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unavailable(f"the agent of {node.name}: {type(error).__name__}") from error
