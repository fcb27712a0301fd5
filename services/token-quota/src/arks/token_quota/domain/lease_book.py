"""The lease book: joins what a gateway wrote when requests started and when they ended, into usage batches.

docs/architecture/leases.md defines both files and has the argument why the result is exact. Pure: lines and times
go in, batches come out; `state` and `LeaseBook(state)` carry it over a restart.
"""

import heapq
from typing import Final

import msgspec

from arks.contracts.subjects import encode
from arks.token_quota.domain.batch import ClosedLease, StartedRequest, UsageBatch, UsageRecord
from arks.token_quota.domain.charge import DELIVERED, usage_record
from arks.token_quota.domain.grant import MAX_NAME_LENGTH
from arks.token_quota.domain.lease import NO_LEASE
from arks.token_quota.domain.lines import ABSENT, EndLine, LeaseLine, LineError, StartLine
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

    def add_lease(self, line: LeaseLine) -> None:
        """Raises LineError."""
        names = _names(line.names)
        end_milliseconds = line.end_milliseconds
        amounts = line.requests, line.prompt_tokens, line.completion_tokens
        self._keep(Lease(line.id, *names, end_milliseconds, *amounts))
        namespace = names[0]
        self._last_ends[namespace] = max(self._last_ends.get(namespace, 0), end_milliseconds)

    def add_start(self, line: StartLine) -> None:
        """Raises LineError."""
        request_id = line.request_id
        if request_id == ABSENT:
            raise LineError("request id")
        lease = self._without_lease(line) if line.names else self._leases.get(line.lease)
        if lease is None:
            return
        lease.requests -= 1
        lease.prompt_tokens -= line.prompt_tokens
        lease.completion_tokens -= line.completion_tokens
        if request_id in lease.ended_first:
            lease.ended_first.remove(request_id)
        elif self.open_requests >= MAX_OPEN:
            self.untracked += 1
        else:
            lease.open[request_id] = Started(
                line.operation, line.at_milliseconds, line.prompt_tokens, line.completion_tokens
            )
            self.open_requests += 1

    def add_end(self, line: EndLine) -> None:
        """Raises LineError."""
        namespace, record = usage_record(line)
        if record.completion_tokens:
            self._speeds.measure(namespace, record.endpoint, record.completion_tokens, record.duration_milliseconds)
        elif line.status == 0 and record.source == DELIVERED and not line.stream and line.usage == ABSENT:
            # Without a count it is unknown what the engine had made when the client left.
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

    def _keep(self, lease: Lease) -> None:
        self._leases[lease.id] = lease
        heapq.heappush(self._ends, (lease.end_milliseconds, lease.id))

    def _without_lease(self, line: StartLine) -> Lease:
        """What stands for the lease of a request without one. Raises LineError."""
        if line.lease != NO_LEASE:
            raise LineError("names of a lease")
        names = _names(line.names)
        id_ = _no_lease(*names)
        if id_ not in self._leases:
            self._keep(Lease(id_, *names, line.at_milliseconds + NO_LEASE_MILLISECONDS, 0, 0, 0))
        return self._leases[id_]

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
    if len(parts) != 3 or not all(0 < len(name) <= MAX_NAME_LENGTH for name in parts):
        raise LineError("names of a lease")
    return parts[0], parts[1], parts[2]


def _no_lease(namespace: str, endpoint: str, token: str) -> str:
    """What stands for the id of a lease. No id has a slash."""
    return f"{namespace}/{endpoint}/{token}{_NO_LEASE_END}"
