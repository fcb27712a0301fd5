"""Brings the KV state of a prompt into a slot: from a prefiller, or computed here."""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from arks.ark_engine.domain.bodies import path, prefill_body
from arks.ark_engine.domain.failures import Failed
from arks.ark_engine.service.ports import Llama, PrefillerPeer, PrefillFailed
from arks.engine.v1.ark_pb2 import Generation
from arks.kit.peers import choose

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Prepared:
    """How a prompt came into its slot."""

    prompt_tokens: int
    cached_tokens: int
    prefill_milliseconds: float
    transfer_milliseconds: float = 0.0
    prefiller: str = ""
    """host:port; empty: this engine."""


class Prompts:
    def __init__(
        self,
        llama: Llama,
        prefillers: Mapping[str, PrefillerPeer],
        *,
        directory: Path,
        fingerprint: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`prefillers`: by address; it may change meanwhile. `directory`: where llama.cpp reads and writes states."""
        self._llama = llama
        self._prefillers = prefillers
        self._directory = directory
        self._fingerprint = fingerprint
        self._monotonic = monotonic
        self.handed_over = 0
        self.fallbacks = 0

    async def prepare(self, generation: Generation, slot: int) -> Prepared:
        """Raises Failed."""
        peer = choose(self._prefillers.values(), self._monotonic())
        if peer is None:
            self.fallbacks += bool(self._prefillers)
            return await self.compute(generation, slot)
        try:
            prepared = await self._fetch(generation, slot, peer)
        except PrefillFailed as error:
            peer.failed(self._monotonic())
            self.fallbacks += 1
            log.warning("prefiller failed, prompt is processed here", prefiller=peer.address, reason=str(error))
            return await self.compute(generation, slot)
        peer.succeeded()
        self.handed_over += 1
        return prepared

    async def compute(self, generation: Generation, slot: int) -> Prepared:
        """Process the prompt here. Raises Failed."""
        began = self._monotonic()
        answer = await self._llama.complete(path(generation), prefill_body(generation, slot))
        usage = answer["usage"]
        cached = usage.get("prompt_tokens_details", {}).get("cached_tokens", 0)
        return Prepared(usage["prompt_tokens"], cached, self._milliseconds(began))

    async def _fetch(self, generation: Generation, slot: int, peer: PrefillerPeer) -> Prepared:
        prefiller = peer.prefiller
        peer.in_flight += 1
        file = self._directory / f"{uuid.uuid4().hex}.state"
        try:
            hand_over = await prefiller.prefill(generation)
            if hand_over.fingerprint != self._fingerprint:
                raise PrefillFailed("it serves another model, or keeps its state in another form")
            began = self._monotonic()
            await prefiller.fetch(hand_over, file)
            await self._restore(slot, file.name)
        finally:
            peer.in_flight -= 1
            file.unlink(missing_ok=True)
        prepared = Prepared(hand_over.prompt_tokens, hand_over.prompt_tokens, hand_over.prefill_milliseconds)
        return replace(prepared, transfer_milliseconds=self._milliseconds(began), prefiller=peer.address)

    async def _restore(self, slot: int, name: str) -> None:
        try:
            await self._llama.restore(slot, name)
        except Failed as error:
            raise PrefillFailed(f"llama.cpp does not take its state: {error.message}") from error

    def _milliseconds(self, began: float) -> float:
        return (self._monotonic() - began) * 1000
