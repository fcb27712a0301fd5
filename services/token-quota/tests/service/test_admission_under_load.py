"""Leases under ten times the load that limits admit: eight workers behind two replicas, on a real Valkey, in simulated
minutes. Workers and shippers follow docs/architecture/leases.md; only time is simulated.
"""

import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from arks.kit.testing.clock import FakeClock
from arks.kit.testing.servers import Server
from arks.token_quota.adapters.counters import RedisCounters
from arks.token_quota.adapters.redis_batches import RedisBatches
from arks.token_quota.domain.answers import Rejection
from arks.token_quota.domain.change import LeaseChange, LedgerChange
from arks.token_quota.domain.lease import LeaseAmount
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.admission import Admission, AdmitRequest, Granted
from arks.token_quota.service.ports.ledger import Ledger
from arks.token_quota.testing.admission import make_admission
from arks.token_quota.testing.fakes import Harness, token

pytestmark = pytest.mark.real

WORKERS, TICK, FLUSH, CLOSE_MARGIN, DURATION = 8, 10, 100, 200, 700  # all times in ms
BODY_BYTES, MAX_TOKENS = 40, 40
PROMPT, RESERVED = 10, 50  # tokens of one request
USED_PROMPT, USED_COMPLETION = 12, 30  # the prompt is underestimated
NOTHING = LeaseAmount()


@dataclass(eq=False)
class Lease:
    id: str
    amount: LeaseAmount
    granted_at: int
    end: int
    started: int = 0
    closed: bool = False

    @property
    def usable(self) -> bool:
        """One more request fits."""
        needed = self.started + 1
        return (
            needed <= self.amount.requests
            and needed * PROMPT <= self.amount.prompt_tokens
            and needed * MAX_TOKENS <= self.amount.completion_tokens
        )


@dataclass
class Gateway:
    """What a shipper sees of its workers."""

    name: str
    leases: list[Lease] = field(default_factory=list)
    in_flight: list[tuple[int, Lease]] = field(default_factory=list)
    """End of each request, in order."""

    def changes(self, now: int) -> list[LeaseChange]:
        ended: dict[str, LeaseChange] = {}
        while self.in_flight and self.in_flight[0][0] <= now:
            _, lease = self.in_flight.pop(0)
            change = ended.setdefault(lease.id, LeaseChange(lease.id, "tom", "qwen", "", lease.granted_at // 60_000))
            change.requests += 1
            change.reserved_prompt_tokens += PROMPT
            change.reserved_completion_tokens += MAX_TOKENS
            change.prompt_tokens += USED_PROMPT
            change.completion_tokens += USED_COMPLETION
        return [*ended.values(), *self._closings(now)]

    def _closings(self, now: int) -> list[LeaseChange]:
        closings = []
        for lease in [lease for lease in self.leases if lease.end + CLOSE_MARGIN <= now]:
            self.leases.remove(lease)
            used = (lease.started, lease.started * PROMPT, lease.started * MAX_TOKENS)
            unused = [total - taken for total, taken in zip(lease.amount, used, strict=True)]
            closings.append(LeaseChange(lease.id, "", "", "", 0, 0, 0, 0, 0, 0, True, *unused))
        return closings


@dataclass
class Worker:
    gateway: Gateway
    replica: Admission
    lease: Lease | None = None
    held_until: int = 0
    calls: int = 0

    async def handle(self, now: int) -> Lease | None:
        """The lease that admits a request; None if it is rejected."""
        if now < self.held_until:
            return None
        if self.lease is None or now >= self.lease.end or not self.lease.usable:
            self.lease = await self._call(now)
        if self.lease is None:
            return None
        self.lease.started += 1
        self.gateway.in_flight.append((now + DURATION, self.lease))
        return self.lease

    async def _call(self, now: int) -> Lease | None:
        self.calls += 1
        requests = self._demand(now)
        demand = LeaseAmount(requests, requests * PROMPT, requests * MAX_TOKENS)
        answer = await self.replica.admit(
            AdmitRequest(
                "Bearer sk-tom", self.gateway.name, "qwen", "completions", BODY_BYTES, MAX_TOKENS, None, demand
            )
        )
        if not isinstance(answer, Granted):
            assert isinstance(answer, Rejection)
            self.held_until = now + (answer.hold.milliseconds if answer.hold is not None else 0)
            return None
        own = LeaseAmount(1, answer.grant.prompt_tokens, answer.grant.completion_tokens)
        amount = LeaseAmount(*(mine + extra for mine, extra in zip(own, answer.extra, strict=True)))
        lease = Lease(answer.grant.lease, amount, now, now + answer.milliseconds)
        self.gateway.leases.append(lease)
        return lease

    def _demand(self, now: int) -> int:
        if self.lease is None:
            return 1
        validity = self.lease.end - self.lease.granted_at
        lasted = max(TICK, min(now, self.lease.end) - self.lease.granted_at)
        requests = int(self.lease.started * 1000 / lasted * 1.25)
        twice = 2000 * self.lease.started // max(validity, 1000)
        return max(1, min(4096, max(requests, twice) if now < self.lease.end else requests))


@dataclass
class Simulation:
    counters: list[RedisCounters]
    admissions: list[Admission]
    clock: FakeClock
    gateways: list[Gateway] = field(default_factory=lambda: [Gateway("a"), Gateway("b")])
    started: dict[int, int] = field(default_factory=dict)
    """Requests by minute."""
    seq: int = 0

    def now(self) -> int:
        return Moment.of(self.clock.now()).milliseconds

    async def run(self, minutes: int, requests_per_tick: int) -> list[Worker]:
        workers = [Worker(self.gateways[n % 2], self.admissions[n // 2 % 2]) for n in range(WORKERS)]
        for tick in range(minutes * 60_000 // TICK):
            for number in range(requests_per_tick):
                now = self.now()
                if lease := await workers[(tick * requests_per_tick + number) % WORKERS].handle(now):
                    minute = lease.granted_at // 60_000
                    self.started[minute] = self.started.get(minute, 0) + 1
            if tick % (FLUSH // TICK) == 0:
                await self.flush()
            self.clock.advance(TICK / 1000)
        return workers

    async def flush(self) -> None:
        for gateway in self.gateways:
            now = self.now()
            self.seq += 1
            change = LedgerChange(self.seq, self.seq - 1, gateway.name, now - CLOSE_MARGIN, gateway.changes(now))
            replica = self.counters[self.seq % 2]
            assert self.seq == await replica.apply("team", self.seq - 1, [(change, {})], Moment(now))


@pytest_asyncio.fixture
async def simulation(valkey: Server, harness: Harness, ledger: Ledger) -> AsyncIterator[Simulation]:
    clock = FakeClock(datetime(2100, 1, 1, tzinfo=UTC))  # Valkey expires what is past by its own clock
    url = f"redis://127.0.0.1:{valkey.port}/0"
    counters = [
        RedisCounters(RedisBatches(url, valkey.password, timeout_seconds=10), CollectorRegistry()) for _ in range(2)
    ]
    admissions = [make_admission(harness, replica, ledger, clock) for replica in counters]
    harness.endpoint()
    yield Simulation(counters, admissions, clock)
    for replica in counters:
        await replica.close()


def limit(harness: Harness, **limits: int) -> None:
    rates = [{"type": kind, "value": value} for kind, value in limits.items()]
    harness.add(token(qos=[{"arksEndpoint": {"name": "qwen"}, "rateLimits": rates}]))


@pytest.mark.parametrize("rpm", [600, 3_000, 3_001])
async def test_a_limit_of_requests_is_given_out_completely_and_never_exceeded(
    simulation: Simulation, harness: Harness, rpm: int
) -> None:
    limit(harness, rpm=rpm, tpm=10**9)
    workers = await simulation.run(minutes=2, requests_per_tick=max(1, 10 * rpm // 6_000))
    undershoot = {minute: (rpm - started) / rpm for minute, started in simulation.started.items()}
    calls = sum(worker.calls for worker in workers)
    sys.stdout.write(f"rpm {rpm}: started {simulation.started}, undershoot {undershoot}, {calls} calls\n")
    assert 2 == len(undershoot)
    assert all(0 <= missing < 0.005 for missing in undershoot.values())


async def test_a_limit_of_tokens_is_exceeded_by_underestimated_prompts_only(
    simulation: Simulation, harness: Harness
) -> None:
    tpm = 60_000
    limit(harness, tpm=tpm)
    await simulation.run(minutes=2, requests_per_tick=2)
    used = [started * (USED_PROMPT + USED_COMPLETION) for started in simulation.started.values()]
    sys.stdout.write(f"tpm {tpm}: used {used}\n")
    most_in_flight = 2 * DURATION // TICK
    assert 2 == len(used)
    assert all(tokens <= tpm + most_in_flight * (USED_PROMPT - PROMPT) for tokens in used)
    assert all(tokens >= 0.98 * tpm for tokens in used)


async def test_after_all_has_ended_no_lease_holds_anything(simulation: Simulation, harness: Harness) -> None:
    limit(harness, rpm=600)
    await simulation.run(minutes=1, requests_per_tick=1)
    simulation.clock.advance(2)
    await simulation.flush()
    assert 0 == await simulation.counters[0].open_requests("team")
