"""API keys of tokens, by their hashes: what was read for each token, and which token holds which key."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from arks.contracts.resources import ArksToken
from arks.kit.key import Key


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """A token's claim that a key, by its hash, is its own."""

    key_hash: str
    until_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A token's condition Ready."""

    ready: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class KeyReading:
    """The keys of one generation of a token, the current key first, or the reason why they cannot be read."""

    uid: str | None
    generation: int | None
    claims: tuple[KeyClaim, ...]
    problem: Verdict | None = None

    def is_of(self, token: ArksToken) -> bool:
        return (self.uid, self.generation) == (token.metadata.uid, token.metadata.generation)


@dataclass(frozen=True, slots=True)
class HeldKey:
    token: Key
    until_seconds: float | None


class KeyHolders:
    """Which token holds which key: the oldest of those that claim it, so that a later claim takes over no key."""

    def __init__(self, created_seconds: Callable[[Key], float]) -> None:
        """`created_seconds`: when a token was created."""
        self._created_seconds = created_seconds
        self._claims: dict[Key, tuple[KeyClaim, ...]] = {}
        self._claimants: dict[str, dict[Key, KeyClaim]] = {}
        self._holders: dict[str, HeldKey] = {}

    def holder(self, key_hash: str) -> HeldKey | None:
        return self._holders.get(key_hash)

    def holds(self, token: Key, claim: KeyClaim) -> bool:
        """Whether the key leads to this token."""
        holder = self._holders.get(claim.key_hash)
        return holder is not None and holder.token == token

    def claim(self, token: Key, claims: Sequence[KeyClaim]) -> list[Key]:
        """Replace the token's claims; none when it is deleted or its keys cannot be read. Returns the other tokens
        that claim a key whose holder changed.
        """
        before = self._claims.pop(token, ())
        if claims:
            self._claims[token] = tuple(claims)
        for old in before:
            self._claimants.get(old.key_hash, {}).pop(token, None)
        for new in reversed(claims):  # a key that is listed twice counts as the current one
            self._claimants.setdefault(new.key_hash, {})[token] = new
        key_hashes = {claim.key_hash for claim in (*before, *claims)}
        return [other for key_hash in key_hashes for other in self._resolve(key_hash) if other != token]

    def _resolve(self, key_hash: str) -> list[Key]:
        """Find the holder anew. Returns all that claim the key if the holder changed."""
        claimants = self._claimants.get(key_hash, {})
        before = self._holders.get(key_hash)
        if not claimants:
            self._claimants.pop(key_hash, None)
            self._holders.pop(key_hash, None)
            return []
        oldest = min(claimants, key=lambda token: (self._created_seconds(token), token))
        self._holders[key_hash] = HeldKey(oldest, claimants[oldest].until_seconds)
        return list(claimants) if before is None or before.token != oldest else []
