"""The ledger in SQL: the truth for usage and budgets. A batch is applied once by its id; sequence numbers rise with
every commit.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import sqlalchemy as sa
import structlog

from arks.contracts.usage import UsageSource
from arks.token_quota.adapters.database import Database
from arks.token_quota.adapters.ledger_pruning import prunes
from arks.token_quota.adapters.ledger_writes import DuplicateEntry, Writes, insert
from arks.token_quota.adapters.tables import CHANGES, CLOCK, DAYS, OPEN, RESETS
from arks.token_quota.domain.batch import StartedRequest, UsageBatch
from arks.token_quota.domain.change import LeaseChange, LedgerChange
from arks.token_quota.domain.limits import Budget, RateUse
from arks.token_quota.domain.posting import DayKey, Joined, Posting, post, sums_by_minute, uncertain_requests
from arks.token_quota.domain.time import DAY_MILLISECONDS, Moment, period_start_day
from arks.token_quota.service.ports.ledger import (
    BudgetSums,
    NextChanges,
    OpenRequest,
    PruneBefore,
    QuotaOf,
    UsageFilter,
    UsageSum,
    WindowSums,
)

log = structlog.get_logger(__name__)

# Statements that metering repeats are made once: SQLAlchemy finds the compiled form of the same object in microseconds,
# and needs up to a millisecond for an equal one.
_TAKE_SEQS: Final = sa.update(CLOCK).values(seq=CLOCK.c.seq + sa.bindparam("count")).returning(CLOCK.c.seq)
_LAST_SEQ: Final = sa.select(CLOCK.c.seq)
_HEADS: Final = (
    sa.select(CHANGES.c.namespace, sa.func.max(CHANGES.c.seq))
    .where(CHANGES.c.seq > sa.bindparam("after"))
    .group_by(CHANGES.c.namespace)
)
_NEXT_CHANGES: Final = (
    sa.select(
        CHANGES.c.seq,
        CHANGES.c.previous_seq,
        CHANGES.c.gateway,
        CHANGES.c.complete_until_milliseconds,
        CHANGES.c.changes,
    )
    .where(CHANGES.c.namespace == sa.bindparam("of"), CHANGES.c.seq > sa.bindparam("after"))
    .order_by(CHANGES.c.seq)
    .limit(sa.bindparam("most"))
)
_RESETS_OF: Final = sa.select(RESETS.c.quota, RESETS.c.generation).where(RESETS.c.namespace == sa.bindparam("of"))
_EXPIRED: Final = (
    sa.select(OPEN)
    .where(sa.not_(OPEN.c.charged), OPEN.c.started_at_milliseconds < sa.bindparam("before"))
    .order_by(OPEN.c.started_at_milliseconds)
    .limit(sa.bindparam("most"))
)
JOINED_CHANGES: Final = 2000
"""Lease changes of batches that are written as one, at most: Redis applies them in one call, 14 us each. One batch has
at most half of it.
"""
_CHANGES: Final = msgspec.json.Decoder(list[LeaseChange])


class SqlLedger:
    """Implements `Ledger`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writer = asyncio.Lock()
        """One writer a process: SQLite allows one at a time anyway, and waiting here is cheaper than there."""

    # --- writing

    async def post(self, batches: Sequence[UsageBatch], quota_of: QuotaOf, now: Moment) -> list[Posting]:
        if not batches:
            return []
        try:
            return await self._post(batches, quota_of, now)
        except DuplicateEntry:
            log.warning("a new batch holds requests that the ledger has: each of its requests is looked up")
            return await self._post(batches, quota_of, now, look_up_all=True)

    async def _post(
        self, batches: Sequence[UsageBatch], quota_of: QuotaOf, now: Moment, *, look_up_all: bool = False
    ) -> list[Posting]:
        def work(connection: sa.Connection) -> list[Posting]:
            writes = Writes(connection, now)
            # Before anything is read: the lock puts writers in order.
            seq = _take_seqs(connection, sum(len(batch.records) + 1 for batch in batches))
            added = writes.add_batch_ids([batch.id for batch in batches])
            new = list({batch.id: batch for batch in batches if batch.id in added}.values())
            known = writes.known(_uncertain(new, look_up_all))
            postings = [post(batch, partial(quota_of, batch.namespace), known) for batch in new]
            for joined in _by_gateway(postings):
                namespace = joined.postings[0].batch.namespace
                entries = [entry for posting in joined.postings for entry in posting.entries]
                writes.add_entries(seq, namespace, entries)
                seq += len(entries) + 1
                writes.add_sums(namespace, sums_by_minute(entries), seq - 1)
                writes.add_change(seq - 1, joined)
            writes.update_open(postings)
            return postings

        async with self._writer:
            return await self._database.write(work)

    async def reset(self, namespace: str, quota: str, generation: int, now: Moment) -> int:
        def work(connection: sa.Connection) -> int:
            _take_seqs(connection, 0)
            done = connection.execute(sa.select(RESETS.c.generation).where(*same_quota)).scalar()
            if done is not None and done >= generation:
                return int(done)
            spent = _sum(connection, DAYS.c.namespace == namespace, DAYS.c.quota == quota)
            values = {
                "generation": generation,
                "reset_at_milliseconds": now.milliseconds,
                "prompt_tokens": spent[0],
                "completion_tokens": spent[1],
            }
            statement = insert(RESETS, sqlite=self._database.sqlite).values(namespace=namespace, quota=quota, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["namespace", "quota"], set_=values))
            return generation

        same_quota = (RESETS.c.namespace == namespace, RESETS.c.quota == quota)
        async with self._writer:
            return await self._database.write(work)

    async def prune(self, before: PruneBefore, limit: int) -> int:
        async with self._writer:
            return await self._database.write(
                lambda connection: max([delete(connection, limit) for delete in prunes(before)])
            )

    # --- reading

    async def last_seq(self) -> int:
        return await self._database.read(_last_seq)

    async def heads(self, after: int = 0) -> dict[str, int]:
        return {namespace: int(seq) for namespace, seq in await self._rows(_HEADS, {"after": after})}

    async def namespaces(self) -> list[str]:
        query = sa.select(DAYS.c.namespace).distinct().order_by(DAYS.c.namespace)
        return [namespace for (namespace,) in await self._rows(query)]

    async def changes(self, namespace: str, after: int, limit: int) -> NextChanges:
        def work(connection: sa.Connection) -> NextChanges:
            rows = connection.execute(_NEXT_CHANGES, {"of": namespace, "after": after, "most": limit})
            changes = [
                LedgerChange(seq, previous, gateway, until, _CHANGES.decode(text))
                for seq, previous, gateway, until, text in rows
            ]
            resets = connection.execute(_RESETS_OF, {"of": namespace})
            return NextChanges(changes, {quota: int(generation) for quota, generation in resets})

        return await self._database.read(work)

    async def expired_requests(self, before_milliseconds: int, limit: int) -> list[OpenRequest]:
        found = await self._rows(_EXPIRED, {"before": before_milliseconds, "most": limit})
        return [_open_request(row) for row in found]

    async def window_sums(self, namespace: str, token: str, endpoint: str, now: Moment) -> WindowSums:
        d = DAYS.c
        tokens = d.prompt_tokens + d.completion_tokens
        of_minute = [sa.case((d.minute >= now.minute, sums), else_=0) for sums in (d.minute_requests, d.minute_tokens)]
        sums = sa.select(*(sa.func.sum(column) for column in (*of_minute, d.requests, tokens))).where(
            d.namespace == namespace, d.token == token, d.endpoint == endpoint, d.day >= now.day
        )

        def work(connection: sa.Connection) -> WindowSums:
            upto = _last_seq(connection)
            return WindowSums(RateUse(*(int(number or 0) for number in connection.execute(sums).one())), upto)

        return await self._database.read(work)

    async def budget_sums(self, namespace: str, budget: Budget, now: Moment) -> BudgetSums:
        start = period_start_day(budget.period, now.day)
        of_quota = (DAYS.c.namespace == namespace, DAYS.c.quota == budget.quota)
        reset_query = sa.select(RESETS).where(RESETS.c.namespace == namespace, RESETS.c.quota == budget.quota)

        def work(connection: sa.Connection) -> BudgetSums:
            upto = _last_seq(connection)
            reset = connection.execute(reset_query).first()
            if reset is not None and reset.reset_at_milliseconds >= start * DAY_MILLISECONDS:
                prompt, completion = _sum(connection, *of_quota)
                return BudgetSums(prompt - reset.prompt_tokens, completion - reset.completion_tokens, upto)
            return BudgetSums(*_sum(connection, *of_quota, DAYS.c.day >= start), upto)

        return await self._database.read(work)

    async def usage_sums(self, usage_filter: UsageFilter, group_by: Sequence[str]) -> list[UsageSum]:
        groups = [DAYS.c[name] for name in DayKey._fields if name in group_by]
        totals = [sa.func.sum(DAYS.c[name]) for name in ("requests", "prompt_tokens", "completion_tokens")]
        query = sa.select(*groups, *totals).where(*_conditions(usage_filter)).group_by(*groups).order_by(*groups)
        found = await self._rows(query)
        return [_usage_sum([group.name for group in groups], row) for row in found if row[-3] is not None]

    async def resets(self) -> dict[tuple[str, str], int]:
        query = sa.select(RESETS.c.namespace, RESETS.c.quota, RESETS.c.generation)
        return {(row.namespace, row.quota): int(row.generation) for row in await self._rows(query)}

    async def _rows(self, query: sa.Select[Any], values: Mapping[str, Any] | None = None) -> Sequence[Any]:
        return await self._database.read(lambda connection: connection.execute(query, values).all())


def _take_seqs(connection: sa.Connection, count: int) -> int:
    """The first of `count` sequence numbers. Holds the row lock until the commit: later writers get larger ones."""
    taken = connection.execute(_TAKE_SEQS, {"count": count})
    return int(taken.scalar_one()) - count + 1


def _by_gateway(postings: Sequence[Posting]) -> list[Joined]:
    """Those of a namespace and a gateway together, which are written as one: most of the daily sums and of the leases
    that they change are the same.
    """
    found: list[Joined] = []
    newest: dict[tuple[str, str], Joined] = {}
    for posting in postings:
        of = posting.batch.namespace, posting.batch.gateway
        if of not in newest or not newest[of].add_up_to(JOINED_CHANGES, posting):
            newest[of] = Joined(posting)
            found.append(newest[of])
    return found


def _uncertain(batches: Sequence[UsageBatch], look_up_all: bool) -> list[str]:
    if look_up_all:
        return [record.request_id for batch in batches for record in batch.records] + _uncertain(batches, False)
    return [request_id for batch in batches for request_id in uncertain_requests(batch)]


def _open_request(row: Any) -> OpenRequest:
    fields = {name: getattr(row, name) for name in StartedRequest.__struct_fields__}
    return OpenRequest(row.namespace, StartedRequest(**fields))


def _usage_sum(groups: list[str], row: Any) -> UsageSum:
    values: dict[str, Any] = dict.fromkeys(DayKey._fields) | dict(zip(groups, row, strict=False))
    if values["source"] is not None:
        values["source"] = UsageSource(values["source"])
    requests, prompt, completion = (int(number) for number in row[-3:])
    return UsageSum(**values, requests=requests, prompt_tokens=prompt, completion_tokens=completion)


def _conditions(usage_filter: UsageFilter) -> list[sa.ColumnElement[bool]]:
    names = ("namespace", "token", "endpoint", "quota")
    found = [DAYS.c[name] == value for name in names if (value := getattr(usage_filter, name)) is not None]
    if usage_filter.first_day is not None:
        found.append(DAYS.c.day >= usage_filter.first_day)
    if usage_filter.last_day is not None:
        found.append(DAYS.c.day <= usage_filter.last_day)
    return found


def _last_seq(connection: sa.Connection) -> int:
    return int(connection.execute(_LAST_SEQ).scalar_one())


def _sum(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> tuple[int, int]:
    query = sa.select(sa.func.sum(DAYS.c.prompt_tokens), sa.func.sum(DAYS.c.completion_tokens)).where(*conditions)
    prompt, completion = connection.execute(query).one()
    return int(prompt or 0), int(completion or 0)
