"""What the ledger writes for a usage record: entries are added, never edited.

A request has at most two entries. The first carries its numbers. If these were only its reservation (no usage record
had arrived), a later true record adds a second entry with the difference. Sums over entries are therefore right at
every moment, and a reader continues from the sequence number that it has reached: this is how the counters in Redis
follow the ledger.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from arks.contracts.usage import UsageSource
from arks.token_quota.domain.time import Moment
from arks.token_quota.domain.usage import Usage


@dataclass(frozen=True, slots=True)
class Posted:
    """A request that the ledger holds: the usage of its newest entry, and that entry's revision."""

    usage: Usage
    revision: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One row to add. The token numbers of a correction are differences, and it counts no request."""

    usage: Usage
    revision: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    replaces: Usage | None = None


@dataclass(frozen=True, slots=True, order=True)
class DayKey:
    """The ledger keeps one sum for each of these."""

    namespace: str
    token: str
    endpoint: str
    quota: str
    source: int
    day: int
    """Days since 1970-01-01 (UTC) of the requests' start."""


@dataclass(slots=True)
class DaySums:
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


def post(posted: Mapping[str, Posted], usages: Iterable[Usage]) -> list[Entry]:
    """The entries to add for `usages`, given what the ledger holds for the same requests."""
    known = dict(posted)
    entries: list[Entry] = []
    for usage in usages:
        entry = _entry(known.get(usage.request_id), usage)
        if entry is not None:
            entries.append(entry)
            known[usage.request_id] = Posted(entry.usage, entry.revision)
    return entries


def _entry(before: Posted | None, usage: Usage) -> Entry | None:
    if before is None:
        return Entry(usage, 0, 1, usage.prompt_tokens, usage.completion_tokens)
    charged = before.usage
    if before.revision > 0 or charged.source is not UsageSource.RESERVATION or usage.source is UsageSource.RESERVATION:
        return None
    # The difference belongs where the charge went: to the same day and the same budget.
    usage = replace(usage, quota=charged.quota, started_at_milliseconds=charged.started_at_milliseconds)
    prompt, completion = (
        usage.prompt_tokens - charged.prompt_tokens,
        usage.completion_tokens - charged.completion_tokens,
    )
    return Entry(usage, 1, 0, prompt, completion, replaces=charged)


def daily_sums(entries: Iterable[Entry]) -> dict[DayKey, DaySums]:
    """What the entries add to the daily sums. A correction moves its request from one source to another."""
    sums: dict[DayKey, DaySums] = {}
    for entry in entries:
        _add(sums, entry.usage, 1)
        if entry.replaces is not None:
            _add(sums, entry.replaces, -1)
    return sums


def _add(sums: dict[DayKey, DaySums], usage: Usage, sign: int) -> None:
    day = Moment(usage.started_at_milliseconds).day
    key = DayKey(usage.namespace, usage.token, usage.endpoint, usage.quota, int(usage.source), day)
    total = sums.setdefault(key, DaySums())
    total.requests += sign
    total.prompt_tokens += sign * usage.prompt_tokens
    total.completion_tokens += sign * usage.completion_tokens
