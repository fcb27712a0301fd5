"""API keys of tokens, by their hashes, as they were read for each token."""

from dataclasses import dataclass

import msgspec


class KeyClaim(msgspec.Struct, frozen=True, gc=False):
    """A token's claim that a key, by its hash, is its own."""

    key_hash: bytes
    until_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A token's condition Ready."""

    ready: bool
    reason: str
    message: str


class KeyReading(msgspec.Struct, frozen=True, gc=False):
    """The keys of one generation of a token, the current key first, or the reason why they cannot be read."""

    uid: str | None
    generation: int | None
    claims: tuple[KeyClaim, ...]
    problem: Verdict | None = None
