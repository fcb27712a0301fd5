"""What the ledger writes for a usage batch: entries are added, never edited.

A request has at most two entries. The first carries its numbers. If these were only its reservation (its end was not
known), a later true record adds a second entry with the difference. Sums over entries are therefore right at every
moment, and a reader continues from the sequence number that it has reached: this is how the counters in Redis follow
the ledger.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from arks.contracts.usage import UsageSource
from arks.token_quota.domain.batch import SOURCES, ClosedLease, StartedRequest, UsageBatch, UsageRecord
from arks.token_quota.domain.change import LeaseChange
from arks.token_quota.domain.lease import quota_of_lease
from arks.token_quota.domain.time import MINUTE_MILLISECONDS

_RESERVATION: Final = UsageSource.RESERVATION.message_name

QuotaOf = Callable[[str, str], str]
"""Name of the budget that a token's requests to an endpoint are charged to now; empty for none. For requests whose
lease does not name it.
"""


class Known(NamedTuple):
    """What the ledger holds of a request: its newest entry."""

    source: UsageSource
    quota: str
    started_at_milliseconds: int
    prompt_tokens: int
    completion_tokens: int
    revision: int


class Entry(NamedTuple):
    """One row to add. The token numbers of a correction are differences, and it counts no request."""

    record: UsageRecord
    source: UsageSource
    quota: str
    started_at_milliseconds: int
    revision: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    replaces: "Known | Entry | None" = None


KnownEntries = dict[str, Known | Entry]
"""By request id: what was read from the ledger, and what this transaction adds."""


class DayKey(NamedTuple):
    """The ledger keeps one sum for each of these."""

    namespace: str
    token: str
    endpoint: str
    quota: str
    source: int
    day: int
    """Days since 1970-01-01 (UTC) of the requests' start."""


MinuteKey = tuple[str, str, str, UsageSource, int]
"""Token, endpoint, quota, source, and the minute (since 1970-01-01, UTC) in which the requests started."""


@dataclass(slots=True)
class Sums:
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(slots=True)
class Posting:
    """Everything that one batch writes."""

    batch: UsageBatch
    entries: list[Entry] = field(default_factory=list)
    opened: list[StartedRequest] = field(default_factory=list)
    """Requests in flight."""
    ended: list[str] = field(default_factory=list)
    """Requests that are no longer in flight."""
    charged: list[str] = field(default_factory=list)
    """Requests in flight that are charged their reservation."""
    changes: list[LeaseChange] = field(default_factory=list)
    dropped: int = 0
    """Records that the ledger held already."""


def uncertain_requests(batch: UsageBatch) -> list[str]:
    """Requests that the ledger may hold already, so that it has to be queried for them. All others are new, because a
    batch is applied once and a request ends once.
    """
    return [record.request_id for record in batch.records if record.was_reported_started or _is_reservation(record)] + [
        started.request_id for started in batch.started
    ]


def post(batch: UsageBatch, quota_of: QuotaOf, known: KnownEntries) -> Posting:
    """What to write for `batch`, given what the ledger holds of its requests (by request id). Adds to `known` what it
    will hold afterwards.
    """
    posting = Posting(batch)
    changes = _Changes()
    quotas: dict[tuple[str, str, str], str] = {}
    for record in batch.records:
        user = (record.token, record.endpoint, record.lease)
        quota = quotas.get(user)
        if quota is None:
            granted = quota_of_lease(record.lease)
            quota = quotas[user] = quota_of(*user[:2]) if granted is None else granted
        _post_record(posting, changes, record, quota, known)
    for started in batch.started:
        if started.request_id not in known:
            posting.opened.append(started)
    for closed in batch.closed_leases:
        changes.close(closed)
    posting.changes = changes.all()
    return posting


def sums_by_minute(entries: Iterable[Entry]) -> dict[MinuteKey, Sums]:
    """What the sums of each minute grow by. A correction moves its request from one source to the other."""
    sums: defaultdict[MinuteKey, Sums] = defaultdict(Sums)
    for entry in entries:
        record, minute, before = entry.record, entry.started_at_milliseconds // MINUTE_MILLISECONDS, entry.replaces
        into = sums[record.token, record.endpoint, entry.quota, entry.source, minute]
        if before is None:
            into.requests += entry.requests
            into.prompt_tokens += entry.prompt_tokens
            into.completion_tokens += entry.completion_tokens
        else:
            into.requests += 1
            into.prompt_tokens += before.prompt_tokens + entry.prompt_tokens
            into.completion_tokens += before.completion_tokens + entry.completion_tokens
            origin = sums[record.token, record.endpoint, entry.quota, before.source, minute]
            origin.requests -= 1
            origin.prompt_tokens -= before.prompt_tokens
            origin.completion_tokens -= before.completion_tokens
    return sums


def _post_record(posting: Posting, changes: "_Changes", record: UsageRecord, quota: str, known: KnownEntries) -> None:
    before = known.get(record.request_id)
    source = SOURCES[record.source]
    if before is None:
        prompt, completion = record.prompt_tokens, record.completion_tokens
        entry = Entry(record, source, quota, record.started_at_milliseconds, 0, 1, prompt, completion)
        changes.charge(entry)
    elif before.revision == 0 and before.source is UsageSource.RESERVATION and source is not UsageSource.RESERVATION:
        entry = _correction(record, source, before)
        changes.correct(entry)
    else:
        posting.dropped += 1
        # Whatever keeps it in flight, it is in the ledger: it must not expire again and again.
        posting.ended.append(record.request_id)
        return
    if record.was_reported_started:
        posting.ended.append(record.request_id)
    elif source is UsageSource.RESERVATION:
        posting.charged.append(record.request_id)
    posting.entries.append(entry)
    known[record.request_id] = entry


def _correction(record: UsageRecord, source: UsageSource, before: Known | Entry) -> Entry:
    """The difference belongs where the charge went: to the same day and the same budget."""
    return Entry(
        record,
        source,
        before.quota,
        before.started_at_milliseconds,
        1,
        0,
        record.prompt_tokens - before.prompt_tokens,
        record.completion_tokens - before.completion_tokens,
        before,
    )


def _is_reservation(record: UsageRecord) -> bool:
    return record.source == _RESERVATION


class Joined:
    """Batches of one namespace and gateway, in their order, with the changes that they would have as one batch. A lease
    that is closed in between is closed at the end: nothing but its own requests counts in it.
    """

    def __init__(self, first: Posting) -> None:
        self.postings = [first]
        self._changes = _Changes()
        self._changes.join(first.changes)

    def add_up_to(self, most_changes: int, posting: Posting) -> bool:
        """Add it, unless more changes than these could result. Returns whether it was added."""
        if len(self._changes) + len(posting.changes) > most_changes:
            return False
        self.postings.append(posting)
        self._changes.join(posting.changes)
        return True

    def changes(self) -> list[LeaseChange]:
        return self._changes.all()


class _Changes:
    """Changes of the counters, summed by lease, token, endpoint, quota and minute."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, str, str, int], LeaseChange] = {}
        self._closed: list[LeaseChange] = []

    def __len__(self) -> int:
        return len(self._sums) + len(self._closed)

    def charge(self, entry: Entry) -> None:
        record = entry.record
        change = self._change(record.lease, entry)
        change.requests += 1
        change.reserved_prompt_tokens += record.reserved_prompt_tokens
        change.reserved_completion_tokens += record.reserved_completion_tokens
        change.prompt_tokens += entry.prompt_tokens
        change.completion_tokens += entry.completion_tokens

    def correct(self, entry: Entry) -> None:
        """The charge that is corrected has released the reservation, so the lease is not concerned."""
        change = self._change("", entry)
        change.prompt_tokens += entry.prompt_tokens
        change.completion_tokens += entry.completion_tokens

    def close(self, closed: ClosedLease) -> None:
        """A change of its own, after those of the lease's requests."""
        self._closed.append(
            LeaseChange(
                closed.lease,
                "",
                "",
                "",
                0,
                closed=True,
                unused_requests=closed.unused_requests,
                unused_prompt_tokens=closed.unused_prompt_tokens,
                unused_completion_tokens=closed.unused_completion_tokens,
            )
        )

    def join(self, others: Iterable[LeaseChange]) -> None:
        for other in others:
            if other.closed:
                self._closed.append(other)
                continue
            change = self._at((other.lease, other.token, other.endpoint, other.quota, other.minute))
            change.requests += other.requests
            change.reserved_prompt_tokens += other.reserved_prompt_tokens
            change.reserved_completion_tokens += other.reserved_completion_tokens
            change.prompt_tokens += other.prompt_tokens
            change.completion_tokens += other.completion_tokens

    def all(self) -> list[LeaseChange]:
        return [*self._sums.values(), *self._closed]

    def _change(self, lease: str, entry: Entry) -> LeaseChange:
        record = entry.record
        minute = entry.started_at_milliseconds // MINUTE_MILLISECONDS
        return self._at((lease, record.token, record.endpoint, entry.quota, minute))

    def _at(self, key: tuple[str, str, str, str, int]) -> LeaseChange:
        found = self._sums.get(key)
        if found is None:
            found = self._sums[key] = LeaseChange(*key)
        return found
