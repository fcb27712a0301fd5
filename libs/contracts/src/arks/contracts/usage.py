"""Usage records: where their numbers of tokens come from."""

from enum import IntEnum


class UsageSource(IntEnum):
    """Where a charge comes from. Numbers as in the protobuf enum of the same name, which the ledger stores."""

    ENGINE = 1
    """The engine's own numbers, as it sent them to the client."""
    DELIVERED = 2
    """The answer ended early: prompt tokens are estimated, completion tokens are the delivered events."""
    RESERVATION = 3
    """The reservation, because no usage record came in time or it had no numbers."""
    NONE = 4
    """The engine refused the request or never got it: no tokens."""

    @property
    def message_name(self) -> str:
        """The value's name in protobuf's JSON."""
        return f"USAGE_SOURCE_{self.name}"
