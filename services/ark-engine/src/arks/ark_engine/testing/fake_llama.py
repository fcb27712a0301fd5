"""llama.cpp in memory: answers with the words of a script."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

from arks.ark_engine.domain.failures import Failed
from arks.ark_engine.service.ports import PrefillFailed
from arks.engine.v1.ark_pb2 import Generation, HandOver

FINGERPRINT = "f"
PROMPT_TOKENS = 7


class FakeLlama:
    """Satisfies `Llama`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.words = ["a", "b"]
        self.requests: list[Mapping[str, Any]] = []
        self.restored: list[bytes] = []
        self.failure: Failed | None = None
        """Raised by every request."""
        self.hangs = False
        """Streams never end by themselves after their first word."""

    async def complete(self, _: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._note(body)
        return {"usage": {"prompt_tokens": PROMPT_TOKENS, "prompt_tokens_details": {"cached_tokens": 2}}}

    async def stream(self, _: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        self._note(body)
        for word in self.words:
            yield {"choices": [{"delta": {"content": word}, "finish_reason": None}]}
            if self.hangs:
                await asyncio.Event().wait()
        yield {"choices": [{"delta": {}, "finish_reason": "stop"}]}
        yield {"choices": [], "usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": len(self.words)}}

    async def save(self, slot: int, name: str) -> int:
        return (self.directory / name).write_bytes(b"state of slot %d" % slot)

    async def restore(self, _: int, name: str) -> None:
        self.restored.append((self.directory / name).read_bytes())

    def _note(self, body: Mapping[str, Any]) -> None:
        if self.failure is not None:
            raise self.failure
        self.requests.append(body)


class FakePrefiller:
    """Satisfies `Prefiller`."""

    def __init__(self) -> None:
        self.prompts = 0
        self.fingerprint = FINGERPRINT
        self.refusal: Failed | None = None
        self.fails_to_prefill = self.fails_to_fetch = False

    async def prefill(self, _: Generation) -> HandOver:
        self.prompts += 1
        if self.refusal is not None:
            raise self.refusal
        if self.fails_to_prefill:
            raise PrefillFailed("away")
        return HandOver(id="x", state_bytes=5, prompt_tokens=7, prefill_milliseconds=3.0, fingerprint=self.fingerprint)

    async def fetch(self, _: HandOver, file: Path) -> None:
        file.write_bytes(b"state")
        if self.fails_to_fetch:
            raise PrefillFailed("a chunk has a wrong checksum")
