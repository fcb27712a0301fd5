"""Commands and changes for counters in a Valkey: by default one request of one lease at one time."""

from typing import Any

import redis.asyncio as redis
from prometheus_client import CollectorRegistry

from arks.kit.testing.servers import Server
from arks.token_quota.adapters.counters import RedisCounters
from arks.token_quota.adapters.redis_batches import RedisBatches
from arks.token_quota.domain.change import LeaseChange, LedgerChange
from arks.token_quota.domain.lease import LeaseAmount, Validity
from arks.token_quota.domain.limits import Budget, BudgetUse, Rates, RateUse
from arks.token_quota.domain.reservation import ReservationRequest
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.ports.counters import GrantCommand, GrantResult
from arks.token_quota.service.ports.ledger import BudgetSums, WindowSums

NOW = 4_102_473_600_000
"""2100-01-01 08:00: later than the clock of the Valkey, which deletes what expires before its own time."""
TEAM = "team"
QUOTA = Budget("q", total=10_000)
TOKENS = ReservationRequest(10, 20, exact=True)
NO_DEMAND = LeaseAmount()
SECOND = Validity(1000, 1000)


def connect(valkey: Server) -> RedisCounters:
    batches = RedisBatches(f"redis://127.0.0.1:{valkey.port}/0", valkey.password, timeout_seconds=10)
    return RedisCounters(batches, CollectorRegistry(), retry_pause_seconds=0.0)


def request(
    number: object = 1,
    *,
    rates: Rates | None = None,
    budget: Budget | None = QUOTA,
    tokens: ReservationRequest = TOKENS,
    demand: LeaseAmount = NO_DEMAND,
    now: int = NOW,
    namespace: str = TEAM,
    validity: Validity = SECOND,
    begins: int = 0,
) -> GrantCommand:
    return GrantCommand(
        lease=f"lease{number}",
        gateway="gateway",
        namespace=namespace,
        token="tom",  # noqa: S106  # the name of an ArksToken
        endpoint="qwen",
        rates=rates or Rates(),
        budget=budget,
        tokens=tokens,
        demand=demand,
        now=Moment(now),
        validity=validity,
        begins_in_milliseconds=begins,
    )


async def fill(
    counters: RedisCounters, command: GrantCommand, use: RateUse | None = None, prompt: int = 0, completion: int = 0
) -> None:
    epoch = await counters.open(command.namespace, 0)
    assert await counters.fill_rate(epoch, command, WindowSums(use or RateUse(), epoch.cursor))
    assert await counters.fill_budget(epoch, command, BudgetSums(prompt, completion, epoch.cursor))


async def grant(counters: RedisCounters, command: GrantCommand) -> GrantResult:
    found = await counters.grant(command)
    assert found is not None
    return found


def change(number: object = 1, **fields: Any) -> LeaseChange:
    """By default one request of the lease, which had reserved TOKENS, has ended."""
    ended: dict[str, Any] = {
        "requests": 1,
        "reserved_prompt_tokens": 10,
        "reserved_completion_tokens": 20,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "minute": NOW // 60_000,
    }
    lease = f"lease{number}" if number else ""
    return LeaseChange(lease, "tom", "qwen", "q", **(ended | fields))


def closed(number: object = 1, requests: int = 0, prompt: int = 0, completion: int = 0) -> LeaseChange:
    unused = {"unused_requests": requests, "unused_prompt_tokens": prompt, "unused_completion_tokens": completion}
    return LeaseChange(f"lease{number}", "", "", "", 0, closed=True, **unused)


async def apply(
    counters: RedisCounters, seq: int, *changes: LeaseChange, now: int = NOW, complete_until: int = 0
) -> int | None:
    """A change of the ledger that follows change `seq` - 1."""
    ledger_change = LedgerChange(seq, seq - 1, "gateway", complete_until, list(changes))
    return await counters.apply(TEAM, seq - 1, [(ledger_change, {"q": QUOTA})], Moment(now))


async def read(counters: RedisCounters, now: int = NOW) -> tuple[RateUse, BudgetUse]:
    """The counters, read by a request that they reject."""
    found = await grant(counters, request("read", tokens=ReservationRequest(10**9, 0, exact=True), now=now))
    assert not found.granted
    return found.rate_use, found.budget_use


async def commands(client: "redis.Redis") -> int:
    """That Valkey has run, those inside of scripts included."""
    statistics = await client.info("commandstats")
    return sum(found["calls"] for name, found in statistics.items() if name != "cmdstat_info")
