"""What the ledger writes for a usage record: entries are added, never edited.

A request has at most two entries. The first carries its numbers. Where that was only its reservation (nothing had
been heard of it), a later true record adds a second entry with the difference. Sums over entries are therefore right
at every moment, and whoever has summed up to some sequence number goes on from there: this is how the counters in
Redis follow the ledger.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

DAY_MILLISECONDS = 86_400_000
MINUTE_MILLISECONDS = 60_000


class Source(IntEnum):
    """As `UsageSource` of the usage stream."""

    ENGINE = 1
    DELIVERED = 2
    RESERVATION = 3
    NONE = 4


@dataclass(frozen=True, slots=True)
class Usage:
    """One finished request, as the ledger takes it."""

    request_id: str
    namespace: str
    token: str
    endpoint: str
    quota: str
    """The budget that it is charged to; empty for none."""
    operation: str
    source: Source
    started_at_milliseconds: int
    prompt_tokens: int
    completion_tokens: int
    duration_milliseconds: int = 0
    first_byte_milliseconds: int = 0
    status_code: int = 0
    response_flags: str = ""
    stream: bool = False
    replica: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is added: for a correction the token numbers are differences, and it counts no request."""

    usage: Usage
    revision: int
    requests: int
    prompt_tokens: int
    completion_tokens: int

    @property
    def day(self) -> int:
        return self.usage.started_at_milliseconds // DAY_MILLISECONDS


@dataclass(frozen=True, slots=True)
class Posted:
    """What the ledger holds of a request already: the sum of its entries."""

    source: Source
    revision: int
    prompt_tokens: int
    completion_tokens: int
    quota: str = ""


def post(posted: Mapping[str, Posted], usages: Iterable[Usage]) -> list[Entry]:
    """The entries to add for `usages`, given what the ledger holds of the same requests."""
    known = dict(posted)
    entries: list[Entry] = []
    for usage in usages:
        entry = _entry(known.get(usage.request_id), usage)
        if entry is None:
            continue
        entries.append(entry)
        known[usage.request_id] = Posted(
            usage.source, entry.revision, usage.prompt_tokens, usage.completion_tokens, entry.usage.quota
        )
    return entries


def _entry(before: Posted | None, usage: Usage) -> Entry | None:
    if before is None:
        return Entry(usage, 0, 1, usage.prompt_tokens, usage.completion_tokens)
    replaceable = before.revision == 0 and before.source is Source.RESERVATION
    if not replaceable or usage.source is Source.RESERVATION:
        return None
    return Entry(
        usage, 1, 0, usage.prompt_tokens - before.prompt_tokens, usage.completion_tokens - before.completion_tokens
    )
