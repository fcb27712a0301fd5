"""The ledger in SQL: the truth for usage and budgets. Idempotent by request id; sequence numbers rise with every
commit.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from arks.contracts.usage import UsageSource
from arks.token_quota.adapters.database import Database
from arks.token_quota.adapters.tables import CLOCK, DAYS, ENTRIES, RESETS
from arks.token_quota.domain.limits import Budget, RateUse
from arks.token_quota.domain.posting import Entry, Posted, daily_sums, post
from arks.token_quota.domain.time import DAY_MILLISECONDS, MINUTE_MILLISECONDS, Moment, period_start_day
from arks.token_quota.domain.usage import Usage
from arks.token_quota.service.ports.ledger import BudgetSums, LedgerEntry, UsageFilter, UsageSum, WindowSums

DAY_COLUMNS = ("namespace", "token", "endpoint", "quota", "source", "day")
_USAGE_FIELDS = (
    *("request_id", "namespace", "token", "endpoint", "quota", "operation", "started_at_milliseconds"),
    *("duration_milliseconds", "first_byte_milliseconds", "status_code", "response_flags", "stream", "replica"),
)


class SqlLedger:
    """Implements `Ledger`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = _insert_of(database)
        self._writer = asyncio.Lock()
        """One writer a process: SQLite allows one at a time anyway, and waiting here is cheaper than there."""

    # --- writing

    async def post(self, usages: Sequence[Usage], now: Moment) -> list[Entry]:
        if not usages:
            return []
        async with self._writer, self._database.writing() as connection:
            first = await self._take_seqs(connection, len(usages))
            entries = post(await self._posted(connection, [usage.request_id for usage in usages]), usages)
            if entries:
                rows = [_row(first + at, entry, now) for at, entry in enumerate(entries)]
                await connection.execute(sa.insert(ENTRIES), rows)
                await self._add_days(connection, entries, rows[-1]["seq"])
        return entries

    async def _take_seqs(self, connection: AsyncConnection, count: int) -> int:
        """The first of `count` sequence numbers. Holds the row lock until the commit: later writers get larger ones."""
        taken = await connection.execute(sa.update(CLOCK).values(seq=CLOCK.c.seq + count).returning(CLOCK.c.seq))
        return int(taken.scalar_one()) - count + 1

    async def _posted(self, connection: AsyncConnection, request_ids: list[str]) -> dict[str, Posted]:
        query = sa.select(ENTRIES).where(ENTRIES.c.request_id.in_(request_ids)).order_by(ENTRIES.c.revision)
        return {row.request_id: _posted(row) for row in await connection.execute(query)}

    async def _add_days(self, connection: AsyncConnection, entries: Sequence[Entry], last_seq: int) -> None:
        rows = [
            {name: getattr(key, name) for name in DAY_COLUMNS}
            | {
                "requests": sums.requests,
                "prompt_tokens": sums.prompt_tokens,
                "completion_tokens": sums.completion_tokens,
                "last_seq": last_seq,
            }
            for key, sums in sorted(daily_sums(entries).items())
        ]
        statement = self._insert(DAYS)
        new = statement.excluded
        added = {name: DAYS.c[name] + new[name] for name in ("requests", "prompt_tokens", "completion_tokens")}
        added["last_seq"] = new.last_seq
        await connection.execute(statement.on_conflict_do_update(index_elements=list(DAY_COLUMNS), set_=added), rows)

    async def reset(self, namespace: str, quota: str, generation: int, now: Moment) -> int:
        same_quota = (RESETS.c.namespace == namespace, RESETS.c.quota == quota)
        async with self._writer, self._database.writing() as connection:
            await self._take_seqs(connection, 0)
            done = (await connection.execute(sa.select(RESETS.c.generation).where(*same_quota))).scalar()
            if done is not None and done >= generation:
                return int(done)
            spent = await _sum(connection, DAYS.c.namespace == namespace, DAYS.c.quota == quota)
            values = {
                "generation": generation,
                "reset_at_milliseconds": now.milliseconds,
                "prompt_tokens": spent[0],
                "completion_tokens": spent[1],
            }
            statement = self._insert(RESETS).values(namespace=namespace, quota=quota, **values)
            await connection.execute(
                statement.on_conflict_do_update(index_elements=["namespace", "quota"], set_=values)
            )
        return generation

    async def prune(self, before_milliseconds: int, limit: int) -> int:
        e = ENTRIES.c
        old = sa.select(e.seq).where(e.recorded_at_milliseconds < before_milliseconds).order_by(e.seq).limit(limit)
        async with self._writer, self._database.writing() as connection:
            first = (await connection.execute(sa.select(e.recorded_at_milliseconds).order_by(e.seq).limit(1))).scalar()
            if first is None or first >= before_milliseconds:
                return 0
            deleted = await connection.execute(sa.delete(ENTRIES).where(e.seq.in_(old)))
        return int(deleted.rowcount)

    # --- reading

    async def last_seq(self) -> int:
        async with self._database.reading() as connection:
            return await _last_seq(connection)

    async def heads(self, after: int = 0) -> dict[str, int]:
        if after:  # few rows, by primary key
            query = sa.select(ENTRIES.c.namespace, sa.func.max(ENTRIES.c.seq)).where(ENTRIES.c.seq > after)
            query = query.group_by(ENTRIES.c.namespace)
        else:
            query = sa.select(DAYS.c.namespace, sa.func.max(DAYS.c.last_seq)).group_by(DAYS.c.namespace)
        async with self._database.reading() as connection:
            return {namespace: int(seq) for namespace, seq in await connection.execute(query)}

    async def entries(self, namespace: str, after: int, limit: int) -> list[LedgerEntry]:
        e = ENTRIES.c
        columns = (e.seq, e.request_id, e.token, e.endpoint, e.quota, e.started_at_milliseconds, e.requests)
        query = sa.select(*columns, e.prompt_tokens, e.completion_tokens)
        query = query.where(e.namespace == namespace, e.seq > after).order_by(e.seq).limit(limit)
        async with self._database.reading() as connection:
            return [LedgerEntry(*row) for row in await connection.execute(query)]

    async def last_seqs(self, request_ids: Sequence[str]) -> dict[str, int]:
        query = sa.select(ENTRIES.c.request_id, sa.func.max(ENTRIES.c.seq))
        query = query.where(ENTRIES.c.request_id.in_(list(request_ids))).group_by(ENTRIES.c.request_id)
        async with self._database.reading() as connection:
            return {request_id: int(seq) for request_id, seq in await connection.execute(query)}

    async def window_sums(self, namespace: str, token: str, endpoint: str, now: Moment) -> WindowSums:
        e, d = ENTRIES.c, DAYS.c
        minute = sa.select(sa.func.sum(e.requests), sa.func.sum(e.prompt_tokens + e.completion_tokens)).where(
            e.namespace == namespace,
            e.token == token,
            e.endpoint == endpoint,
            e.started_at_milliseconds >= now.minute * MINUTE_MILLISECONDS,
        )
        day = sa.select(sa.func.sum(d.requests), sa.func.sum(d.prompt_tokens + d.completion_tokens)).where(
            d.namespace == namespace, d.token == token, d.endpoint == endpoint, d.day >= now.day
        )
        async with self._database.reading() as connection:
            upto = await _last_seq(connection)
            in_minute = (await connection.execute(minute)).one()
            in_day = (await connection.execute(day)).one()
        return WindowSums(RateUse(*(int(number or 0) for number in (*in_minute, *in_day))), upto)

    async def budget_sums(self, namespace: str, budget: Budget, now: Moment) -> BudgetSums:
        start = period_start_day(budget.period, now.day)
        of_quota = (DAYS.c.namespace == namespace, DAYS.c.quota == budget.quota)
        reset_query = sa.select(RESETS).where(RESETS.c.namespace == namespace, RESETS.c.quota == budget.quota)
        async with self._database.reading() as connection:
            upto = await _last_seq(connection)
            reset = (await connection.execute(reset_query)).first()
            if reset is not None and reset.reset_at_milliseconds >= start * DAY_MILLISECONDS:
                prompt, completion = await _sum(connection, *of_quota)
                prompt, completion = prompt - reset.prompt_tokens, completion - reset.completion_tokens
            else:
                prompt, completion = await _sum(connection, *of_quota, DAYS.c.day >= start)
        return BudgetSums(prompt, completion, upto)

    async def usage_sums(self, usage_filter: UsageFilter, group_by: Sequence[str]) -> list[UsageSum]:
        groups = [DAYS.c[name] for name in DAY_COLUMNS if name in group_by]
        totals = [sa.func.sum(DAYS.c[name]) for name in ("requests", "prompt_tokens", "completion_tokens")]
        query = sa.select(*groups, *totals).where(*_conditions(usage_filter)).group_by(*groups).order_by(*groups)
        async with self._database.reading() as connection:
            found = list(await connection.execute(query))
        return [_usage_sum([group.name for group in groups], row) for row in found if row[-3] is not None]

    async def resets(self) -> dict[tuple[str, str], int]:
        query = sa.select(RESETS.c.namespace, RESETS.c.quota, RESETS.c.generation)
        async with self._database.reading() as connection:
            return {(row.namespace, row.quota): int(row.generation) for row in await connection.execute(query)}


def _insert_of(database: Database) -> Any:
    """INSERT ... ON CONFLICT, which both databases have but SQLAlchemy's common INSERT has not."""
    if database.sqlite:
        from sqlalchemy.dialects.sqlite import insert  # noqa: PLC0415  # only the dialect that is used
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]  # noqa: PLC0415
    return insert


def _row(seq: int, entry: Entry, now: Moment) -> dict[str, Any]:
    return {name: getattr(entry.usage, name) for name in _USAGE_FIELDS} | {
        "seq": seq,
        "revision": entry.revision,
        "source": int(entry.usage.source),
        "requests": entry.requests,
        "prompt_tokens": entry.prompt_tokens,
        "completion_tokens": entry.completion_tokens,
        "recorded_at_milliseconds": now.milliseconds,
    }


def _posted(row: Any) -> Posted:
    """Of the last row of a request. A correction's numbers are differences, but then nothing more is posted anyway."""
    fields = {name: getattr(row, name) for name in _USAGE_FIELDS}
    usage = Usage(
        **fields,
        source=UsageSource(row.source),
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
    )
    return Posted(usage, row.revision)


def _usage_sum(groups: list[str], row: Any) -> UsageSum:
    values: dict[str, Any] = dict.fromkeys(DAY_COLUMNS) | dict(zip(groups, row, strict=False))
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


async def _last_seq(connection: AsyncConnection) -> int:
    return int((await connection.execute(sa.select(CLOCK.c.seq))).scalar_one())


async def _sum(connection: AsyncConnection, *conditions: sa.ColumnElement[bool]) -> tuple[int, int]:
    query = sa.select(sa.func.sum(DAYS.c.prompt_tokens), sa.func.sum(DAYS.c.completion_tokens)).where(*conditions)
    prompt, completion = (await connection.execute(query)).one()
    return int(prompt or 0), int(completion or 0)
