"""API keys of tokens, by their hashes: what was read for each token, and which token holds which key."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from arks.kit.key import Key


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


class HeldKey(msgspec.Struct, frozen=True, gc=False):
    token: Key
    until_seconds: float | None


class KeyHolders:
    """Which token holds which key: the oldest of those that claim it, so that a later claim takes over no key."""

    def __init__(self, created_seconds: Callable[[Key], float]) -> None:
        """`created_seconds`: when a token was created."""
        self._created_seconds = created_seconds
        self._claims: dict[Key, tuple[KeyClaim, ...]] = {}
        self._claimants: dict[bytes, tuple[HeldKey, ...]] = {}
        """By hash of the key; the first one holds the key."""

    def holder(self, key_hash: bytes) -> HeldKey | None:
        claimants = self._claimants.get(key_hash)
        return claimants[0] if claimants is not None else None

    def holds(self, token: Key, claim: KeyClaim) -> bool:
        """Whether the key leads to this token."""
        holder = self.holder(claim.key_hash)
        return holder is not None and holder.token == token

    def claim(self, token: Key, claims: Sequence[KeyClaim]) -> list[Key]:
        """Replace the token's claims; none when it is deleted or its keys cannot be read. Returns the other tokens
        that claim a key whose holder changed.
        """
        before = self._claims.pop(token, ())
        if claims:
            self._claims[token] = tuple(claims)
        # a key that is listed twice counts as the current one
        held = {claim.key_hash: HeldKey(token, claim.until_seconds) for claim in reversed(claims)}
        key_hashes = {claim.key_hash for claim in before} | held.keys()
        changed = [other for key_hash in key_hashes for other in self._resolve(key_hash, token, held.get(key_hash))]
        return [other for other in changed if other != token]

    def _resolve(self, key_hash: bytes, token: Key, held: HeldKey | None) -> list[Key]:
        """Find the holder anew with the token's claim, or without. Returns all that claim the key if it changed."""
        before = self._claimants.pop(key_hash, ())
        claimants = [other for other in before if other.token != token]
        if held is not None:
            claimants.append(held)
        if not claimants:
            return []
        claimants.sort(key=lambda claimant: (self._created_seconds(claimant.token), claimant.token))
        self._claimants[key_hash] = tuple(claimants)
        unchanged = bool(before) and before[0].token == claimants[0].token
        return [] if unchanged else [claimant.token for claimant in claimants]
