"""Which token holds which key.

A key belongs to a namespace: to that of the oldest token that claims it first, until no token of the namespace has
claimed it for a while (`Reservations.expire`). Until then no other namespace gets the key, because its clients would
go on to send their prompts with it. Tokens of one namespace may pass a key on at once.

The ledger keeps the namespaces (`KeyOwner`), so a restart changes none, and replicas agree: the first one that writes
an owner decides.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from arks.kit.key import Key
from arks.token_quota.domain.keys import KeyClaim

MAX_RESERVED = 10_000
"""Keys that are reserved for a namespace without a token. Beyond it the first released are free at once."""


class HeldKey(msgspec.Struct, frozen=True, gc=False):
    token: Key
    until_seconds: float | None


class KeyOwner(NamedTuple):
    """A row of the ledger."""

    key_hash: bytes
    namespace: str
    released_at_milliseconds: int | None = None
    """Since when no token of the namespace claims the key; None while one does."""


class KeyHolders:
    def __init__(self, created_seconds: Callable[[Key], float]) -> None:
        """`created_seconds`: when a token was created."""
        self._created_seconds = created_seconds
        self._claims: dict[Key, tuple[KeyClaim, ...]] = {}
        self._claimants: dict[bytes, tuple[HeldKey, ...]] = {}
        """By hash of the key; the first one holds the key, unless it is reserved."""
        self._undecided: set[bytes] = set()
        """Claimed keys whose namespace the ledger does not have yet: age alone decides."""
        self._reserved: dict[bytes, KeyOwner] = {}
        """Keys that no token of their namespace claims."""
        self._dirty: set[bytes] = set()
        """Keys whose row in the ledger differs."""
        self._settled = False

    def holder(self, key_hash: bytes) -> HeldKey | None:
        claimants = self._claimants.get(key_hash)
        return None if claimants is None or key_hash in self._reserved else claimants[0]

    def holds(self, token: Key, claim: KeyClaim) -> bool:
        """Whether the key leads to this token."""
        holder = self.holder(claim.key_hash)
        return holder is not None and holder.token == token

    def is_reserved(self, claim: KeyClaim) -> bool:
        """Whether the key is kept for a namespace in which no token claims it."""
        return claim.key_hash in self._reserved

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

    # --- the ledger's rows

    def restore(self, row: KeyOwner) -> list[Key]:
        """Take over what the ledger has. Returns the tokens that claim the key if its holder changed."""
        key_hash, before = row.key_hash, self.holder(row.key_hash)
        self._undecided.discard(key_hash)
        claimants = self._claimants.get(key_hash, ())
        if any(claimant.token.namespace == row.namespace for claimant in claimants):
            self._claimants[key_hash] = self._sorted(claimants, row.namespace)
            self._reserved.pop(key_hash, None)
            if row.released_at_milliseconds is not None:
                self._dirty.add(key_hash)
        elif (known := self._reserved.get(key_hash)) is None or known.namespace != row.namespace:
            self._reserved[key_hash] = row
            if self._settled and row.released_at_milliseconds is None:
                self._dirty.add(key_hash)
        return self._changed(key_hash, before)

    def changed_rows(self, now_milliseconds: int) -> list[KeyOwner]:
        """Rows to write, each once; keys that are reserved from now on are stamped."""
        keys, self._dirty = self._dirty | self._undecided, set()
        rows = []
        for key_hash in keys:
            reserved = self._reserved.get(key_hash)
            if reserved is not None:
                if reserved.released_at_milliseconds is None:
                    reserved = self._reserved[key_hash] = reserved._replace(released_at_milliseconds=now_milliseconds)
                rows.append(reserved)
            elif key_hash in self._claimants:
                rows.append(KeyOwner(key_hash, self._claimants[key_hash][0].token.namespace))
        return rows

    def write_again(self, rows: Iterable[KeyOwner]) -> None:
        """Rows that could not be written."""
        self._dirty.update(row.key_hash for row in rows)

    def settle(self) -> None:
        """All claims of a start are known: rows without one are reserved from now on."""
        self._settled = True
        self._dirty.update(key for key, row in self._reserved.items() if row.released_at_milliseconds is None)
        self._reserved = dict(self._reserved)  # it held a row of every token

    def expire(self, before_milliseconds: int) -> tuple[list[KeyOwner], list[Key]]:
        """Free the keys that were released before then. Returns them, and the tokens that may hold them now."""
        released = [row for row in self._reserved.values() if row.released_at_milliseconds is not None]
        released.sort(key=lambda row: row.released_at_milliseconds or 0)
        counts: dict[str, int] = {}
        expired = []
        for row in reversed(released):
            counts[row.namespace] = counts.get(row.namespace, 0) + 1
            if (row.released_at_milliseconds or 0) < before_milliseconds or counts[row.namespace] > MAX_RESERVED:
                expired.append(row)
        return expired, [token for row in expired for token in self._free(row.key_hash)]

    # --- decisions

    def _free(self, key_hash: bytes) -> list[Key]:
        self._reserved.pop(key_hash, None)
        self._dirty.discard(key_hash)
        claimants = self._claimants.get(key_hash)
        if claimants is None:
            return []
        self._undecided.add(key_hash)
        self._claimants[key_hash] = self._sorted(claimants, None)
        return [claimant.token for claimant in claimants]

    def _resolve(self, key_hash: bytes, token: Key, held: HeldKey | None) -> list[Key]:
        """Find the holder anew with the token's claim, or without. Returns all that claim the key if it changed."""
        before = self.holder(key_hash)
        owner = self._owner(key_hash)
        claimants = [other for other in self._claimants.pop(key_hash, ()) if other.token != token]
        if held is not None:
            claimants.append(held)
        if owner is None:
            self._undecided.add(key_hash)
        elif any(claimant.token.namespace == owner for claimant in claimants):
            reserved = self._reserved.pop(key_hash, None)
            if reserved is not None and reserved.released_at_milliseconds is not None:
                self._dirty.add(key_hash)
        else:
            self._reserve(key_hash, owner)
        if claimants:
            decided = owner is not None and key_hash not in self._undecided
            self._claimants[key_hash] = self._sorted(claimants, owner if decided else None)
        return self._changed(key_hash, before)

    def _owner(self, key_hash: bytes) -> str | None:
        """The namespace that the key belongs to; None for a new key."""
        reserved = self._reserved.get(key_hash)
        if reserved is not None:
            return reserved.namespace
        claimants = self._claimants.get(key_hash)
        return claimants[0].token.namespace if claimants else None

    def _reserve(self, key_hash: bytes, namespace: str) -> None:
        self._undecided.discard(key_hash)
        if key_hash not in self._reserved:
            self._reserved[key_hash] = KeyOwner(key_hash, namespace)
            self._dirty.add(key_hash)

    def _sorted(self, claimants: Iterable[HeldKey], owner: str | None) -> tuple[HeldKey, ...]:
        """Those of the owner first, then by age."""

        def rank(claimant: HeldKey) -> tuple[bool, float, Key]:
            token = claimant.token
            return owner is not None and token.namespace != owner, self._created_seconds(token), token

        return tuple(sorted(claimants, key=rank))

    def _changed(self, key_hash: bytes, before: HeldKey | None) -> list[Key]:
        after = self.holder(key_hash)
        unchanged = (before and before.token) == (after and after.token)
        return [] if unchanged else [claimant.token for claimant in self._claimants.get(key_hash, ())]
