"""Batches in any order and any number of times: the ledger's sums stay true, and counters get the same sums."""

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from arks.contracts.usage import UsageSource
from arks.token_quota.adapters.database import Database
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.adapters.tables import ENTRIES
from arks.token_quota.domain.batch import UsageBatch, UsageRecord
from arks.token_quota.domain.limits import RateUse
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.metering.sweeper import charges
from arks.token_quota.service.ports.ledger import UsageFilter
from arks.token_quota.testing.usage import STARTED_AT_MILLISECONDS, batch, record, started

NOW = Moment(STARTED_AT_MILLISECONDS)
LATER_MILLISECONDS = NOW.milliseconds + 3_600_000
SUMS = ("requests", "prompt_tokens", "completion_tokens")
T = TypeVar("T")


@dataclass
class Request:
    """What the machine knows of one request."""

    record: UsageRecord
    was_reported_started: bool
    charged: bool = False
    ended: bool = False

    def cost(self) -> tuple[int, int, int]:
        if self.ended:
            return 1, self.record.prompt_tokens, self.record.completion_tokens
        if self.charged:
            return 1, self.record.reserved_prompt_tokens, self.record.reserved_completion_tokens
        return 0, 0, 0


class LedgerMachine(RuleBasedStateMachine):
    """Gateways report requests; the stream delivers their batches in any order, and again."""

    empty_ledger: Path

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.mkdtemp(dir=self.empty_ledger.parent)
        path = shutil.copy(self.empty_ledger, self.directory)
        self.database = Database(f"sqlite+aiosqlite:///{path}")
        self.ledger = SqlLedger(self.database)
        self.requests: dict[str, Request] = {}
        self.waiting: list[UsageBatch] = []
        """Published and not delivered."""
        self.delivered: list[UsageBatch] = []

    def teardown(self) -> None:
        """Checks once a run: it takes as long as several steps, and a run ends after any step."""
        try:
            self.sums_are_true()
            self.counters_get_the_same_sums()
            self.requests_in_flight_are_those_whose_start_was_delivered_and_neither_end_nor_charge()
        finally:
            self.run(self.database.close())
            self.loop.close()
            shutil.rmtree(self.directory)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    @rule(
        tokens=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.booleans()), min_size=1, max_size=4),
        minutes=st.integers(0, 1),
        source=st.sampled_from([UsageSource.ENGINE, UsageSource.DELIVERED, UsageSource.NONE]),
        at_once=st.booleans(),
    )
    def report(self, tokens: list[tuple[int, int, bool]], minutes: int, source: UsageSource, at_once: bool) -> None:
        """Those whose lease is closed before their end are in two batches, which nothing puts in order."""
        made = [
            record(
                f"r{len(self.requests) + at}",
                source,
                lease=f"L{at % 2}",
                started_at_milliseconds=NOW.milliseconds + 60_000 * minutes,
                prompt_tokens=prompt,
                completion_tokens=completion,
                was_reported_started=is_started,
            )
            for at, (prompt, completion, is_started) in enumerate(tokens)
        ]
        self.requests |= {ended.request_id: Request(ended, ended.was_reported_started) for ended in made}
        starts = [
            started(ended.request_id, lease=ended.lease, started_at_milliseconds=ended.started_at_milliseconds)
            for ended in made
            if ended.was_reported_started
        ]
        self.waiting += [batch(*made)]
        self.publish(batch(started=starts), at_once)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """One or two of the waiting batches in one transaction, with one that was delivered before."""
        chosen = [
            self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
            for _ in range(data.draw(st.integers(1, min(2, len(self.waiting)))))
        ]
        again = [data.draw(st.sampled_from(self.delivered))] if self.delivered else []
        self.post([*again, *chosen])

    @precondition(lambda self: self.delivered)
    @rule(data=st.data())
    def repeat_requests_in_a_new_batch(self, data: st.DataObject) -> None:
        """No gateway does this; the ledger's safety net is for it."""
        records = data.draw(st.sampled_from(self.delivered)).records
        self.post([batch(*records, *records)])

    @rule(at_once=st.booleans())
    def sweep(self, at_once: bool) -> None:
        """Charges that wait like other batches can come after the ends of their requests."""
        expired = self.run(self.ledger.expired_requests(LATER_MILLISECONDS, 100))
        if expired:
            self.publish(charges("team", sorted(expired, key=lambda request: request.started.request_id)), at_once)

    def publish(self, published: UsageBatch, at_once: bool) -> None:
        if at_once:
            self.post([published])
        else:
            self.waiting.append(published)

    def post(self, batches: list[UsageBatch]) -> None:
        self.run(self.ledger.post(batches, lambda *_: "q", NOW))
        self.delivered += [posted for posted in batches if posted not in self.delivered]
        for ended in (ended for posted in batches for ended in posted.records):
            request = self.requests[ended.request_id]
            if ended.source == UsageSource.RESERVATION.message_name:
                request.charged = True
            else:
                request.ended = True

    def sums_are_true(self) -> None:
        costs = [request.cost() for request in self.requests.values()]
        truth = tuple(sum(cost[at] for cost in costs) for at in range(3))
        rows = self.run(self.ledger.usage_sums(UsageFilter(), ["source"]))
        assert truth == tuple(sum(getattr(row, name) for row in rows) for name in SUMS)
        by_source = Counter({row.source: row.requests for row in rows if row.requests})
        assert by_source == Counter(
            UsageSource[request.record.source.removeprefix("USAGE_SOURCE_")]
            if request.ended
            else UsageSource.RESERVATION
            for request in self.requests.values()
            if request.ended or request.charged
        )
        assert truth == self.run(self.sums_of_entries())
        starts = [request.record.started_at_milliseconds for request in self.requests.values() if request.cost()[0]]
        newest = Moment(max(starts, default=NOW.milliseconds))
        of_newest = [
            request.cost()
            for request in self.requests.values()
            if request.record.started_at_milliseconds == newest.milliseconds
        ]
        minute = sum(cost[0] for cost in of_newest), sum(cost[1] + cost[2] for cost in of_newest)
        window = self.run(self.ledger.window_sums("team", "tom", "qwen", newest)).use
        assert RateUse(*minute, truth[0], truth[1] + truth[2]) == window

    def counters_get_the_same_sums(self) -> None:
        changes = self.run(self.ledger.changes("team", 0, 10_000)).changes
        parts = [part for change in changes for part in change.changes]
        assert self.run(self.sums_of_entries()) == tuple(sum(getattr(part, name) for part in parts) for name in SUMS)
        charged = [request for request in self.requests.values() if request.ended or request.charged]
        by_lease = Counter(request.record.lease for request in charged)
        assert by_lease == Counter({lease: requests_of(parts, lease) for lease in by_lease})
        assert len(charged) * 100 == sum(part.reserved_prompt_tokens for part in parts)
        assert [0, *(change.seq for change in changes)][:-1] == [change.previous_seq for change in changes]

    def requests_in_flight_are_those_whose_start_was_delivered_and_neither_end_nor_charge(self) -> None:
        reported = {start.request_id for posted in self.delivered for start in posted.started}
        expected = {id_ for id_ in reported if not self.requests[id_].ended and not self.requests[id_].charged}
        in_flight = self.run(self.ledger.expired_requests(LATER_MILLISECONDS, 10_000))
        assert expected == {request.started.request_id for request in in_flight}

    async def sums_of_entries(self) -> tuple[int, ...]:
        rows = await self.database.read(lambda connection: connection.execute(ENTRIES.select()).all())
        return tuple(sum(getattr(row, name) for row in rows) for name in SUMS)


def requests_of(parts: list[Any], lease: str) -> int:
    return sum(part.requests for part in parts if part.lease == lease)


def test_batches_in_any_order_and_number_keep_the_ledgers_sums(
    empty_ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LedgerMachine, "empty_ledger", empty_ledger, raising=False)
    # No shrinking: the steps of a failed run show enough, and finding fewer takes minutes.
    limits = settings(
        max_examples=20,
        stateful_step_count=20,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    run_state_machine_as_test(LedgerMachine, settings=limits)
