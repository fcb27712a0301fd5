"""The lease book: joins what a gateway wrote when requests started and when they ended, into usage batches.

docs/architecture.md ("Leases") defines both files and has the argument why the result is exact. Pure: lines and times
go in, batches come out; `state` and `LeaseBook(state)` carry it over a restart.
"""

import heapq
from typing import Final

import msgspec

from arks.contracts.subjects import encode
from arks.token_quota.domain.batch import MAX_MILLISECONDS, ClosedLease, StartedRequest, UsageBatch, UsageRecord
from arks.token_quota.domain.charge import (
    DELIVERED,
    NOTHING_MADE,
    NUL,
    LineError,
    parse_request_id,
    required_count,
    usage_record,
)
from arks.token_quota.domain.grant import MAX_NAME_LENGTH
from arks.token_quota.domain.lease import NO_LEASE
from arks.token_quota.domain.speed import Speeds

CLOSE_MARGIN_MILLISECONDS: Final = 200
"""From the end of a lease to its closing: covers the time from the filter's look at its clock to its write."""
HEARTBEAT_MILLISECONDS: Final = 10_000
"""How often a namespace without requests gets a batch, while a lease in it may still be lost."""
QUIET_MILLISECONDS: Final = 40_000
"""After the last lease's end: token-quota returns lost leases 30 s after theirs."""
BATCH_RECORDS: Final = 1000
"""In one message: about 450 KB of NATS' 1 MB."""
_NO_LEASE_END: Final = f"/{NO_LEASE}"
NO_LEASE_MILLISECONDS: Final = 1000
"""Requests that were admitted without counters are reported as started after this time, as if they had a lease."""
MAX_OPEN: Final = 200_000
"""Requests in flight in leases that are not closed. More are not tracked: they are charged when they end."""


class Started(msgspec.Struct, array_like=True):
    """A request in flight."""

    operation: str
    at_milliseconds: int
    prompt_tokens: int
    completion_tokens: int


class Lease(msgspec.Struct):
    """A lease that is not closed. The amounts are those that no request has taken yet. Requests without a lease have
    one here too, for each namespace, endpoint and token, with the id of `_no_lease`.
    """

    id: str
    namespace: str
    endpoint: str
    token: str
    end_milliseconds: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    open: dict[str, Started] = {}
    ended_first: list[str] = []
    """Requests whose end was read before their start."""


class BookState(msgspec.Struct):
    leases: list[Lease] = []
    last_ends: dict[str, int] = {}
    """By namespace: when its last lease ends."""


class _Pending:
    """What the next batches of a namespace hold."""

    __slots__ = ("closed", "records", "started")

    def __init__(self) -> None:
        self.records: list[UsageRecord] = []
        self.started: list[StartedRequest] = []
        self.closed: list[ClosedLease] = []


class LeaseBook:
    def __init__(self, state: BookState | None = None) -> None:
        state = state or BookState()
        self._leases = {lease.id: lease for lease in state.leases}
        self._ends = [(lease.end_milliseconds, lease.id) for lease in state.leases]
        heapq.heapify(self._ends)
        self._last_ends = dict(state.last_ends)
        self._last_batches: dict[str, int] = {}
        self._pending: dict[str, _Pending] = {}
        self._speeds = Speeds()
        self.open_requests = sum(len(lease.open) for lease in state.leases)
        self.untracked = 0
        """Starts beyond MAX_OPEN so far."""

    @property
    def leases(self) -> int:
        """Leases that are not closed."""
        return len(self._leases)

    def state(self) -> BookState:
        """To be kept with the messages that the last `batches` returned."""
        return BookState(list(self._leases.values()), self._last_ends)

    # --- lines

    def add_start_line(self, line: str) -> int:
        """A line of the starts file: `L` for a lease, `S` for a request. Returns the time of a request in ms, 0 for a
        lease. Raises LineError.
        """
        columns = line.split("\t")
        if columns[0] == "S" and (len(columns) == 7 or (len(columns) == 8 and columns[2] == NO_LEASE)):
            return self._add_start(columns)
        if columns[0] == "L" and len(columns) == 7:
            self._add_lease(columns)
            return 0
        raise LineError("kind of start")

    def add_end_line(self, line: str) -> None:
        """A line of the usage log. Raises LineError."""
        namespace, record = usage_record(line)
        if record.completion_tokens:
            self._speeds.measure(namespace, record.endpoint, record.completion_tokens, record.duration_milliseconds)
        elif record.status_code == 0 and record.source == DELIVERED and not record.stream and NOTHING_MADE not in line:
            record.completion_tokens = self._speeds.made(
                namespace, record.endpoint, record.duration_milliseconds, record.reserved_completion_tokens
            )
        lease = self._leases.get(record.lease or _no_lease(namespace, record.endpoint, record.token))
        if lease is None:
            record.was_reported_started = True
        elif lease.open.pop(record.request_id, None) is not None:
            self.open_requests -= 1
        elif not record.lease:
            record.was_reported_started = True  # perhaps by the one before: they have the same id
        else:
            lease.ended_first.append(record.request_id)
        self._of(namespace).records.append(record)

    def _add_lease(self, columns: list[str]) -> None:
        _, id_, end, requests, prompt, completion, names = columns
        parts = _names(names)
        if not 0 < len(id_) <= MAX_NAME_LENGTH:
            raise LineError("names of a lease")
        end_milliseconds = _milliseconds(end, "end of a lease")
        counts = [required_count(text, "amounts of a lease") for text in (requests, prompt, completion)]
        lease = Lease(id_, *parts, end_milliseconds, counts[0], counts[1], counts[2])
        self._keep(lease)
        namespace = lease.namespace
        self._last_ends[namespace] = max(self._last_ends.get(namespace, 0), lease.end_milliseconds)

    def _keep(self, lease: Lease) -> None:
        self._leases[lease.id] = lease
        heapq.heappush(self._ends, (lease.end_milliseconds, lease.id))

    def _lease_of(self, id_: str, names: list[str], at_milliseconds: int) -> Lease | None:
        """`names`: the column that a start without a lease has."""
        if not names:
            return self._leases.get(id_)
        parts = _names(names[0])
        id_ = _no_lease(*parts)
        if id_ not in self._leases:
            self._keep(Lease(id_, *parts, at_milliseconds + NO_LEASE_MILLISECONDS, 0, 0, 0))
        return self._leases[id_]

    def _add_start(self, columns: list[str]) -> int:
        _, request_id, id_, prompt, completion, operation, at, *names = columns
        prompt_tokens, completion_tokens = required_count(prompt, "prompt"), required_count(completion, "completion")
        at_milliseconds = _milliseconds(at, "start")
        parse_request_id(request_id)
        lease = self._lease_of(id_, names, at_milliseconds)
        if lease is not None:
            lease.requests -= 1
            lease.prompt_tokens -= prompt_tokens
            lease.completion_tokens -= completion_tokens
            if request_id in lease.ended_first:
                lease.ended_first.remove(request_id)
            elif self.open_requests >= MAX_OPEN:
                self.untracked += 1
            else:
                started = Started(operation, at_milliseconds, prompt_tokens, completion_tokens)
                lease.open[request_id] = started
                self.open_requests += 1
        return at_milliseconds

    # --- closing

    def close(self, until_milliseconds: int) -> None:
        """Close the leases that ended before `until` less the margin: every start before `until` has been added."""
        while self._ends and self._ends[0][0] + CLOSE_MARGIN_MILLISECONDS <= until_milliseconds:
            _, id_ = heapq.heappop(self._ends)
            lease = self._leases.pop(id_, None)
            if lease is not None:
                self._close(lease)

    def close_all(self) -> None:
        """The gateway has ended."""
        if self._ends:
            self.close(max(self._ends)[0] + CLOSE_MARGIN_MILLISECONDS)

    def _close(self, lease: Lease) -> None:
        pending = self._of(lease.namespace)
        has_counters = not lease.id.endswith(_NO_LEASE_END)
        if has_counters:
            amounts = (lease.requests, lease.prompt_tokens, lease.completion_tokens)
            pending.closed.append(ClosedLease(lease.id, *(max(0, amount) for amount in amounts)))
        self.open_requests -= len(lease.open)
        for request_id, started in lease.open.items():
            pending.started.append(
                StartedRequest(
                    request_id,
                    lease.token,
                    lease.endpoint,
                    started.operation,
                    lease.id if has_counters else NO_LEASE,
                    started.at_milliseconds,
                    started.prompt_tokens,
                    started.completion_tokens,
                )
            )

    # --- batches

    def batches(self, id_prefix: str, gateway: str, complete_until_milliseconds: int) -> list[UsageBatch]:
        """Everything since the last call, in messages of bounded size. Only the last one of a namespace carries
        `complete_until`, so the others have to be published before it.
        """
        self._add_heartbeats(complete_until_milliseconds)
        found: list[UsageBatch] = []
        for namespace, pending in self._pending.items():
            parts = [
                pending.records[at : at + BATCH_RECORDS] for at in range(0, len(pending.records), BATCH_RECORDS)
            ] or [[]]
            for number, records in enumerate(parts):
                id_ = f"{id_prefix}-{encode(namespace)}.{number}"
                found.append(UsageBatch(id_, gateway, namespace, 0, records))
            last = found[-1]
            last.complete_until_milliseconds = complete_until_milliseconds
            last.started, last.closed_leases = pending.started, pending.closed
            self._last_batches[namespace] = complete_until_milliseconds
        self._pending = {}
        return found

    def _add_heartbeats(self, complete_until_milliseconds: int) -> None:
        for namespace, last_end in list(self._last_ends.items()):
            last_batch = self._last_batches.get(namespace, 0)
            if last_batch > last_end + QUIET_MILLISECONDS:
                del self._last_ends[namespace]
                self._last_batches.pop(namespace, None)
            elif complete_until_milliseconds - last_batch >= HEARTBEAT_MILLISECONDS:
                self._of(namespace)

    def _of(self, namespace: str) -> _Pending:
        found = self._pending.get(namespace)
        if found is None:
            found = self._pending[namespace] = _Pending()
        return found


def _names(text: str) -> tuple[str, str, str]:
    """Namespace, endpoint and token. Raises LineError."""
    parts = text.split("/")
    if len(parts) != 3 or not all(0 < len(name) <= MAX_NAME_LENGTH for name in parts) or NUL in text:
        raise LineError("names of a lease")
    return parts[0], parts[1], parts[2]


def _no_lease(namespace: str, endpoint: str, token: str) -> str:
    """What stands for the id of a lease. No id has a slash."""
    return f"{namespace}/{endpoint}/{token}{_NO_LEASE_END}"


def _milliseconds(text: str, column: str) -> int:
    """Raises LineError."""
    if not (text.isascii() and text.isdigit() and len(text) <= 13) or int(text) > MAX_MILLISECONDS:
        raise LineError(column)
    return int(text)
