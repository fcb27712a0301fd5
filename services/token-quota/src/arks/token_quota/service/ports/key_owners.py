"""Which namespace each key belongs to, durably."""

from collections.abc import Sequence
from typing import Protocol

from arks.token_quota.domain.key_holders import KeyOwner


class KeyOwnerStore(Protocol):
    """Every method raises LedgerUnavailable."""

    async def key_owners(self) -> list[KeyOwner]: ...

    async def record_key_owners(self, rows: Sequence[KeyOwner]) -> list[KeyOwner]:
        """Write rows of keys without an owner, and the times of those with the same owner. Returns what the ledger
        has of these keys afterwards: another replica may have written another owner first.
        """

    async def forget_key_owners(self, rows: Sequence[KeyOwner]) -> None:
        """Delete the rows that still have this namespace and were released no later than these."""
