"""What the use cases need: llama.cpp, and prefillers."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from arks.engine.v1.ark_pb2 import Generation, HandOver
from arks.kit.peers import Peer


class PrefillFailed(Exception):
    """No KV state came from the prefiller; the message gives the reason."""


class Llama(Protocol):
    """llama.cpp's HTTP API. Every method raises Failed. Cancelling a call frees what it uses of the slot."""

    async def complete(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]: ...

    def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]: ...

    async def save(self, slot: int, name: str) -> int:
        """Write the slot's KV state to the file `name` of the state directory; returns its bytes."""

    async def restore(self, slot: int, name: str) -> None:
        """Read the slot's KV state from the file `name` of the state directory."""


class Prefiller(Protocol):
    """One prefiller. Every method raises PrefillFailed; `prefill` raises Failed if the generation is at fault."""

    async def prefill(self, generation: Generation) -> HandOver: ...

    async def fetch(self, hand_over: HandOver, file: Path) -> None:
        """Write the state to `file`."""


@dataclass
class PrefillerPeer(Peer):
    """A prefiller with the record of its calls."""

    prefiller: Prefiller = field(kw_only=True)
