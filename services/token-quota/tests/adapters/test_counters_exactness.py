"""Random lives of leases on a real Valkey: whatever happens in between, the counters end as the sums of what was
charged, and no request limit is exceeded on the way.
"""

import asyncio
import struct
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis.asyncio as redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from prometheus_client import CollectorRegistry

from arks.kit.testing.servers import Server, valkey_server
from arks.token_quota.adapters.counter_keys import CounterKeys, rate_name
from arks.token_quota.adapters.counters import RedisCounters
from arks.token_quota.adapters.redis_batches import RedisBatches
from arks.token_quota.domain.change import LeaseChange, LedgerChange
from arks.token_quota.domain.lease import LeaseAmount, begins_in, lease_validity
from arks.token_quota.domain.limits import Budget, Rates, RateUse
from arks.token_quota.domain.reservation import ReservationRequest
from arks.token_quota.domain.time import DAY_MILLISECONDS, DAY_MINUTES, MINUTE_MILLISECONDS, Moment
from arks.token_quota.service.ports.counters import GrantCommand, GrantResult
from arks.token_quota.service.ports.ledger import BudgetSums, WindowSums
from arks.token_quota.testing.counters import NOW

pytestmark = pytest.mark.real

BUDGET = Budget("q", total=50_000)
CLOSE_MARGIN = 200
EARLY = 300
"""By which the clock of a worker may be set forward between a grant and the begin of its lease."""
small = st.integers(min_value=1, max_value=30)
pick = st.integers(min_value=0, max_value=10**6)
NOTHING = LeaseAmount()
RATE_FIELDS = ("m", "mr", "mt", "d", "dr", "dt", "n", "nr", "nt")
"""Of a packed rate, after the change of the ledger that it was made from."""


class Call(NamedTuple):
    """A request whose worker needs more like it; `lost`: the answer does not reach the worker."""

    token: str
    tokens: ReservationRequest
    requests: int
    lost: bool

    @property
    def demand(self) -> LeaseAmount:
        return LeaseAmount(
            self.requests, self.requests * self.tokens.prompt_tokens, self.requests * self.tokens.completion_tokens
        )


calls = st.builds(
    Call,
    st.sampled_from(["tom", "tim"]),
    st.builds(ReservationRequest, small, small, st.booleans(), st.just(1)),
    st.sampled_from([0, 1, 5, 30]),
    st.sampled_from([False, False, False, True]),
)


@dataclass(eq=False)
class Request:
    prompt: int
    completion: int


@dataclass(eq=False)
class Lease:
    """A lease as its worker and shipper know it. `epoch`: number of wipes before its grant; `now`: when it begins."""

    id: str
    token: str
    epoch: int
    now: Moment
    end: int
    amount: LeaseAmount
    answer_lost: bool
    started: int = 0
    reserved: LeaseAmount = NOTHING
    in_flight: list[Request] = field(default_factory=list)
    closed: bool = False
    returned: bool = False
    abandoned: bool = False
    """Returned as a whole, because its closing did not come within an hour: the counters do not know it any more."""

    @property
    def capacity(self) -> int:
        """Requests that it has admitted or may still admit."""
        if self.returned:
            return 0
        return self.started if self.closed else self.amount.requests

    def start(self, prompt: int, completion: int) -> None:
        self.started += 1
        self.reserved = LeaseAmount(
            self.started, self.reserved.prompt_tokens + prompt, self.reserved.completion_tokens + completion
        )
        self.in_flight.append(Request(prompt, completion))


def change_of(lease: Lease, **fields: Any) -> LeaseChange:
    return LeaseChange(lease.id, lease.token, "qwen", "q", lease.now.minute, **fields)


class CountersMachine(RuleBasedStateMachine):
    """Two replicas of token-quota, one gateway and one ledger, in one namespace of its own."""

    server: Server
    runner: "asyncio.Runner"
    numbers = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).numbers += 1
        self.namespace = f"n{self.numbers}"
        self.keys = CounterKeys(self.namespace)
        self.now = Moment(NOW + DAY_MILLISECONDS // 2)
        self.rates = Rates(rpm=20, rpd=60, tpm=2_000, tpd=20_000)
        self.leases: list[Lease] = []
        self.wipes = 0
        self.pending: list[LeaseChange] = []
        self.ledger: list[LedgerChange] = []
        self.overrun = {(token, window): 0 for token in ("tom", "tim") for window in ("minute", "day")}
        self.client: Any = redis.Redis(port=self.server.port, password=self.server.password, protocol=2)
        self.replicas = [RedisCounters(self._batches(), CollectorRegistry()) for _ in range(2)]
        self.cursors = [0, 0]

    def _batches(self) -> RedisBatches:
        url = f"redis://127.0.0.1:{self.server.port}/0"
        return RedisBatches(url, self.server.password, timeout_seconds=10)

    def run(self, work: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await work

        return self.runner.run(wait())

    # --- what happens

    @rule(call=calls, replica=st.integers(0, 1), ahead=st.booleans())
    def grant(self, call: Call, replica: int, ahead: bool) -> None:
        """`ahead`: for the next minute, where that begins soon enough."""
        begins = begins_in(self.now, MINUTE_MILLISECONDS if ahead else None)
        begin = Moment(self.now.milliseconds + begins)
        name = f"{self.namespace}lease{len(self.leases)}"
        command = GrantCommand(
            lease=name,
            gateway="gw",
            namespace=self.namespace,
            token=call.token,
            endpoint="qwen",
            rates=self.rates,
            budget=BUDGET,
            tokens=call.tokens,
            demand=call.demand,
            now=self.now,
            validity=lease_validity(begin),
            begins_in_milliseconds=begins,
        )
        result = self.run(self._grant(command, replica))
        if not result.granted:
            return
        amount = LeaseAmount(
            1 + result.extra.requests,
            call.tokens.prompt_tokens + result.extra.prompt_tokens,
            result.completion_tokens + result.extra.completion_tokens,
        )
        end = begin.milliseconds + result.milliseconds
        lease = Lease(name, call.token, self.wipes, begin, end, amount, answer_lost=call.lost)
        self.leases.append(lease)
        if not lease.answer_lost and not begins:
            lease.start(call.tokens.prompt_tokens, result.completion_tokens)
        self._check_request_limits(call.token)

    async def _grant(self, command: GrantCommand, replica: int) -> GrantResult:
        counters, upto = self.replicas[replica], len(self.ledger)
        result = await counters.grant(command)
        if result is None:
            epoch = await counters.open(self.namespace, upto)
            assert await counters.fill_rate(epoch, command, WindowSums(self._window_sums(command.token), upto))
            prompt, completion = self._budget_sums()
            assert await counters.fill_budget(epoch, command, BudgetSums(prompt, completion, upto))
            result = await counters.grant(command)
        assert result is not None
        return result

    def _check_request_limits(self, token: str) -> None:
        granted = [lease for lease in self.leases if lease.token == token and lease.epoch == self.wipes]
        for minute in (self.now.minute, self.now.minute + 1):
            assert sum(lease.capacity for lease in granted if lease.now.minute == minute) <= (self.rates.rpm or 0)
        day = sum(lease.capacity for lease in granted if lease.now.day == self.now.day)
        assert day <= (self.rates.rpd or 0)

    @precondition(lambda self: self._usable())
    @rule(which=pick, prompt=small, completion=small)
    def start(self, which: int, prompt: int, completion: int) -> None:
        usable = self._usable()
        lease = usable[which % len(usable)]
        room = [total - taken for total, taken in zip(lease.amount, lease.reserved, strict=True)]
        if room[0] >= 1 and room[1] >= prompt and room[2] >= completion:
            lease.start(prompt, completion)

    def _usable(self) -> list[Lease]:
        now = self.now.milliseconds
        return [
            lease
            for lease in self.leases
            if not lease.answer_lost and not lease.closed and lease.now.milliseconds - EARLY <= now < lease.end
        ]

    @precondition(lambda self: self._in_flight())
    @rule(which=pick, prompt=st.integers(0, 60), completion=st.integers(0, 60))
    def end(self, which: int, prompt: int, completion: int) -> None:
        in_flight = self._in_flight()
        lease, request = in_flight[which % len(in_flight)]
        lease.in_flight.remove(request)
        self.pending.append(
            change_of(
                lease,
                requests=1,
                reserved_prompt_tokens=request.prompt,
                reserved_completion_tokens=request.completion,
                prompt_tokens=prompt,
                completion_tokens=completion,
            )
        )

    def _in_flight(self) -> list[tuple[Lease, Request]]:
        return [(lease, request) for lease in self.leases for request in lease.in_flight]

    @rule(prompt=small, completion=small, unknown=st.booleans(), token=st.sampled_from(["tom", "tim"]))
    def end_without_lease(self, prompt: int, completion: int, unknown: bool, token: str) -> None:
        """A request that was admitted without counters, or whose lease Redis does not know."""
        lease = "unknown" if unknown else ""
        self.pending.append(
            LeaseChange(lease, token, "qwen", "q", self.now.minute, 1, prompt, completion, prompt, completion)
        )

    @precondition(lambda self: self._closable())
    @rule(which=pick)
    def close(self, which: int) -> None:
        closable = self._closable()
        self._close(closable[which % len(closable)])

    def _closable(self) -> list[Lease]:
        ended = self.now.milliseconds - CLOSE_MARGIN
        return [lease for lease in self.leases if not lease.answer_lost and not lease.closed and lease.end <= ended]

    def _close(self, lease: Lease) -> None:
        lease.closed = True
        unused = [total - taken for total, taken in zip(lease.amount, lease.reserved, strict=True)]
        self.pending.append(LeaseChange(lease.id, "", "", "", 0, 0, 0, 0, 0, 0, True, *unused))

    @rule(together=st.booleans())
    def flush(self, together: bool) -> None:
        """Everything that has ended, as one change of the ledger; the changes of a lease are summed in some batches."""
        unclosed = [lease.end for lease in self.leases if not lease.answer_lost and not lease.closed]
        complete_until = min([self.now.milliseconds - CLOSE_MARGIN, *unclosed])
        changes = summed(self.pending) if together else self.pending
        self.ledger.append(LedgerChange(len(self.ledger) + 1, len(self.ledger), "gw", complete_until, changes))
        self.pending = []

    @rule(replica=st.integers(0, 1), most=st.integers(1, 3))
    def apply(self, replica: int, most: int) -> None:
        """As the projector does."""
        counters, after = self.replicas[replica], self.cursors[replica]
        changes = self.ledger[after : after + most]
        if not changes:
            return
        known = self.run(self.client.hget(self.keys.epoch, "cursor"))
        cursor = self.run(
            counters.apply(self.namespace, after, [(change, {"q": BUDGET}) for change in changes], self.now)
        )
        if known is not None and int(known) == after:
            self._count_overruns(changes)
        if cursor is None:
            cursor = self.run(counters.open(self.namespace, len(self.ledger))).cursor
        self.cursors[replica] = cursor

    def _count_overruns(self, changes: list[LedgerChange]) -> None:
        """What known leases of an earlier window took beyond their reservation counts in the current window."""
        known = {lease.id: lease for lease in self.leases if lease.epoch == self.wipes and not lease.abandoned}
        for change in (change for ledger_change in changes for change in ledger_change.changes):
            lease = known.get(change.lease)
            if lease is None:
                continue
            reserved = change.reserved_prompt_tokens + change.reserved_completion_tokens
            overrun = max(0, change.prompt_tokens + change.completion_tokens - reserved)
            self.overrun[lease.token, "minute"] += overrun * (lease.now.minute < self.now.minute)
            self.overrun[lease.token, "day"] += overrun * (lease.now.day < self.now.day)

    @rule(milliseconds=st.sampled_from([1, 300, 1000, 1300, 15_000, MINUTE_MILLISECONDS, DAY_MILLISECONDS]))
    def advance(self, milliseconds: int) -> None:
        before, self.now = self.now, Moment(self.now.milliseconds + milliseconds)
        for token, window in self.overrun:
            if getattr(before, window) != getattr(self.now, window):
                self.overrun[token, window] = 0

    @rule(before=st.sampled_from([1, 250, 5_000]))
    def advance_to_the_end_of_the_minute(self, before: int) -> None:
        rest = MINUTE_MILLISECONDS - self.now.milliseconds % MINUTE_MILLISECONDS
        if rest > before:
            self.now = Moment(self.now.milliseconds + rest - before)

    @rule(rpm=st.integers(1, 40), rpd=st.integers(1, 120))
    def raise_limits(self, rpm: int, rpd: int) -> None:
        self.rates = Rates(max(rpm, self.rates.rpm or 0), max(rpd, self.rates.rpd or 0), 2_000, 20_000)

    @rule()
    def wipe(self) -> None:
        self.run(self._wipe())
        self.wipes += 1
        self.overrun = dict.fromkeys(self.overrun, 0)

    async def _wipe(self) -> None:
        if keys := await self.client.keys(f"arks:{{{self.namespace}}}:*"):
            await self.client.delete(*keys)

    @rule(replica=st.integers(0, 1))
    def return_lost_leases(self, replica: int) -> None:
        before = self.run(self.client.hkeys(self.keys.leases))
        self.run(self.replicas[replica].return_lost_leases(self.namespace, self.now))
        held = self.run(self.client.hkeys(self.keys.leases))
        for lease in self.leases:
            id_ = lease.id.encode()
            lease.returned |= lease.answer_lost and id_ not in held
            lease.abandoned |= id_ in before and id_ not in held

    # --- what holds

    def _window_sums(self, token: str) -> RateUse:
        changes = [change for posted in self.ledger for change in posted.changes if change.token == token]
        minute = [change for change in changes if change.minute == self.now.minute]
        day = [change for change in changes if change.minute // DAY_MINUTES == self.now.day]
        return RateUse(*requests_and_tokens(minute), *requests_and_tokens(day))

    def _budget_sums(self) -> tuple[int, int]:
        changes = [change for posted in self.ledger for change in posted.changes]
        return sum(change.prompt_tokens for change in changes), sum(change.completion_tokens for change in changes)

    async def _rate(self, token: str) -> dict[str, float]:
        packed = await self.client.hget(self.keys.rates, rate_name(token, "qwen"))
        return {} if packed is None else dict(zip(RATE_FIELDS, struct.unpack("<10d", packed)[1:], strict=True))

    async def _budget(self) -> dict[str, int]:
        found: dict[Any, Any] = await self.client.hgetall(self.keys.budget(BUDGET, 0))
        return {key.decode(): int(value) for key, value in found.items() if key not in {b"e", b"w"}}

    @invariant()
    def held_is_the_sum_of_the_leases_and_nothing_is_below_0(self) -> None:
        rates = [self.run(self._rate(token)) for token in ("tom", "tim")]
        budget = self.run(self._budget())
        assert all(value >= 0 for counter in (*rates, budget) for value in counter.values())
        packed = self.run(self.client.hvals(self.keys.leases))
        held = [struct.unpack_from("<3d", lease) for lease in packed]
        assert (sum(p for _, p, _ in held), sum(c for _, _, c in held)) == (budget.get("hp", 0), budget.get("hc", 0))

    def teardown(self) -> None:
        try:
            self._end_everything()
            self._check_counters()
            self.advance(MINUTE_MILLISECONDS + 2_000)  # lost leases return
            self._end_everything()
            self.return_lost_leases(0)
            self._check_counters()
            assert 0 == self.run(self.replicas[0].open_requests(self.namespace))
            assert 0 == self.run(self.client.exists(self.keys.leases))
            assert 0 == self.run(self.client.exists(self.keys.lease_ends))
        finally:
            for replica in self.replicas:
                self.run(replica.close())
            self.run(self.client.aclose())

    def _end_everything(self) -> None:
        while in_flight := self._in_flight():
            self.end(0, in_flight[0][1].prompt, 2 * in_flight[0][1].completion)
        late = [lease for lease in self.leases if not lease.answer_lost and not lease.closed]
        for lease in late:
            self._close(lease)
        self.flush(together=False)
        for _ in range(len(self.ledger) + 2):
            self.apply(0, 3)
        assert self.cursors[0] == len(self.ledger)

    def _check_counters(self) -> None:
        lost = [
            lease for lease in self.leases if lease.answer_lost and not lease.returned and lease.epoch == self.wipes
        ]
        for token in ("tom", "tim"):
            counter, charged = self.run(self._rate(token)), self._window_sums(token)
            held = [lease for lease in lost if lease.token == token]
            for window, field_name, sums in (("minute", "m", charged[:2]), ("day", "d", charged[2:])):
                now = getattr(self.now, window)
                if counter.get(field_name) != now:  # its numbers are of an earlier window
                    continue
                amounts = [lease.amount for lease in held if getattr(lease.now, window) == now]
                tokens = sum(amount.prompt_tokens + amount.completion_tokens for amount in amounts)
                expected = (
                    sums[0] + sum(amount.requests for amount in amounts),
                    sums[1] + tokens + self.overrun[token, window],
                )
                assert expected == (counter[field_name + "r"], counter[field_name + "t"])
            self._check_following_minute(token, counter, held)
        budget = self.run(self._budget())
        if budget:
            assert self._budget_sums() == (budget["up"], budget["uc"])

    def _check_following_minute(self, token: str, counter: dict[str, float], lost: list[Lease]) -> None:
        following = self.now.minute + 1
        if counter.get("n") != following:
            return
        changes = [change for posted in self.ledger for change in posted.changes]
        charged = requests_and_tokens([each for each in changes if (each.token, each.minute) == (token, following)])
        amounts = [lease.amount for lease in lost if lease.now.minute == following]
        expected = (
            charged[0] + sum(amount.requests for amount in amounts),
            charged[1] + sum(amount.prompt_tokens + amount.completion_tokens for amount in amounts),
        )
        assert expected == (counter["nr"], counter["nt"])


def summed(changes: list[LeaseChange]) -> list[LeaseChange]:
    sums: dict[tuple[str, str, int], LeaseChange] = {}
    for change in changes:
        known = sums.setdefault(
            (change.lease, change.token, change.minute),
            LeaseChange(change.lease, change.token, change.endpoint, change.quota, change.minute),
        )
        for name in LeaseChange.__struct_fields__[5:]:
            setattr(known, name, getattr(known, name) + getattr(change, name))
    return list(sums.values())


def requests_and_tokens(changes: list[LeaseChange]) -> tuple[int, int]:
    tokens = sum(change.prompt_tokens + change.completion_tokens for change in changes)
    return sum(change.requests for change in changes), tokens


def test_counters_end_as_the_sums_of_what_was_charged(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        serving = valkey_server(tmp_path / "valkey")
        CountersMachine.runner = runner
        CountersMachine.server = runner.run(serving.__aenter__())
        try:
            run_state_machine_as_test(
                CountersMachine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
            )
        finally:
            runner.run(serving.__aexit__(None, None, None))
