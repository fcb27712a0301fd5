"""How usage batches are written into the ledger's tables, inside one transaction.

Rows go to the driver directly: SQLAlchemy's own way costs 10 us a row, SQLite's `executemany` and PostgreSQL's COPY
cost 2 to 3.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from arks.contracts.usage import UsageSource
from arks.token_quota.adapters.tables import BATCHES, CHANGES, ENTRIES, OPEN
from arks.token_quota.domain.posting import (
    DayKey,
    Entry,
    Joined,
    Known,
    KnownEntries,
    MinuteKey,
    Posting,
    Sums,
)
from arks.token_quota.domain.time import DAY_MINUTES, Moment
from arks.token_quota.service.ports.ledger import LedgerUnavailable

ENTRY_COLUMNS: Final = tuple(column.name for column in ENTRIES.columns)
_LOOKUP_IDS: Final = 500
"""In one query: SQLite takes 32,766 parameters, and a long list helps nothing."""


class DuplicateEntry(Exception):
    """A batch holds a request that the ledger has already, although the batch is new."""


class Writes:
    """Statements of one transaction."""

    def __init__(self, connection: sa.Connection, now: Moment) -> None:
        self._connection = connection
        self._now = now
        self._sqlite = connection.dialect.name == "sqlite"

    def add_batch_ids(self, ids: Sequence[str]) -> set[str]:
        """Returns those that the ledger did not have."""
        rows = [{"id": id_, "recorded_at_milliseconds": self._now.milliseconds} for id_ in dict.fromkeys(ids)]
        added = self._connection.execute(_add_batch_ids(self._sqlite), rows)
        return {id_ for (id_,) in added}

    def known(self, request_ids: Sequence[str]) -> KnownEntries:
        """The newest entry of each of these requests that has one."""
        found: KnownEntries = {}
        e = ENTRIES.c
        columns = (e.request_id, e.source, e.quota, e.started_at_milliseconds, e.prompt_tokens, e.completion_tokens)
        for at in range(0, len(request_ids), _LOOKUP_IDS):
            query = sa.select(*columns, e.revision).where(e.request_id.in_(request_ids[at : at + _LOOKUP_IDS]))
            for request_id, source, *numbers in self._connection.execute(query.order_by(e.revision)):
                found[request_id] = Known(UsageSource(source), *numbers)
        return found

    def add_entries(self, first_seq: int, namespace: str, entries: Sequence[Entry]) -> None:
        """Raises DuplicateEntry."""
        recorded_at = self._now.milliseconds
        rows = [_row(first_seq + at, namespace, entry, recorded_at) for at, entry in enumerate(entries)]
        driver: Any = self._connection.connection.dbapi_connection
        if self._sqlite:
            with _sqlite_errors():
                whole = len(rows) - len(rows) % _ROWS
                several = (tuple(chain.from_iterable(rows[at : at + _ROWS])) for at in range(0, whole, _ROWS))
                driver.executemany(_INSERT_ENTRIES, several)
                driver.executemany(_INSERT_ENTRY, rows[whole:])
        else:
            with _postgresql_errors():
                driver.run_async(
                    lambda connection: connection.copy_records_to_table(
                        "usage_entries", records=rows, columns=ENTRY_COLUMNS
                    )
                )

    def add_sums(self, namespace: str, sums: dict[MinuteKey, Sums], last_seq: int) -> None:
        if not sums:
            return
        rows = [
            (
                *(namespace, token, endpoint, quota, int(source), minute // DAY_MINUTES),
                *(added.requests, added.prompt_tokens, added.completion_tokens, last_seq),
                *(minute, added.requests, added.prompt_tokens + added.completion_tokens),
            )
            for (token, endpoint, quota, source, minute), added in sums.items()
        ]
        driver: Any = self._connection.connection.dbapi_connection
        if self._sqlite:
            with _sqlite_errors():
                driver.executemany(_ADD_SUMS_SQLITE, rows)
        else:
            with _postgresql_errors():
                driver.run_async(lambda connection: connection.executemany(_ADD_SUMS_POSTGRESQL, rows))

    def add_change(self, seq: int, joined: Joined) -> None:
        batch = joined.postings[0].batch
        row = {
            "seq": seq,
            "namespace": batch.namespace,
            "gateway": batch.gateway,
            "complete_until_milliseconds": max(
                posting.batch.complete_until_milliseconds for posting in joined.postings
            ),
            "changes": msgspec.json.encode(joined.changes()).decode(),
            "recorded_at_milliseconds": self._now.milliseconds,
            "of_namespace": batch.namespace,
        }
        self._connection.execute(_ADD_CHANGE, row)

    def update_open(self, postings: Sequence[Posting]) -> None:
        """Requests in flight: those that came, those that ended, those that are charged their reservation."""
        opened = [
            msgspec.structs.asdict(started) | {"namespace": posting.batch.namespace, "charged": False}
            for posting in postings
            for started in posting.opened
        ]
        if opened:
            self._connection.execute(_add_open(self._sqlite), opened)
        if ended := [{"ended": id_} for posting in postings for id_ in posting.ended]:
            self._connection.execute(_DELETE_OPEN, ended)
        if charged := [{"id": id_} for posting in postings for id_ in posting.charged]:
            self._connection.execute(_MARK_CHARGED, charged)


_ROWS: Final = 64
"""Entries in one statement of SQLite, a quarter cheaper than one in each. It takes 32,766 parameters."""


def _insert_entries(rows: int) -> str:
    row = f"({', '.join('?' * len(ENTRY_COLUMNS))})"
    return f"INSERT INTO usage_entries ({', '.join(ENTRY_COLUMNS)}) VALUES {', '.join([row] * rows)}"  # noqa: S608  # names of columns only


_INSERT_ENTRY: Final = _insert_entries(1)
_INSERT_ENTRIES: Final = _insert_entries(_ROWS)
_DAY_SUMS: Final = ("requests", "prompt_tokens", "completion_tokens")
_MINUTE_SUMS: Final = ("minute_requests", "minute_tokens")
_SUM_COLUMNS: Final = (*DayKey._fields, *_DAY_SUMS, "last_seq", "minute", *_MINUTE_SUMS)


def _add_sums(values: Sequence[str]) -> str:
    """`values`: the driver's parameters, one a column. A minute before the newest one changes the day only."""
    day = [f"{name} = usage_days.{name} + excluded.{name}" for name in _DAY_SUMS]
    minute = [
        f"{name} = CASE WHEN excluded.minute > usage_days.minute THEN excluded.{name}"
        f" WHEN excluded.minute = usage_days.minute THEN usage_days.{name} + excluded.{name} ELSE usage_days.{name} END"
        for name in _MINUTE_SUMS
    ]
    newest = "CASE WHEN excluded.minute > usage_days.minute THEN excluded.minute ELSE usage_days.minute END"
    changes = (*day, *minute, f"minute = {newest}", "last_seq = excluded.last_seq")
    return (
        f"INSERT INTO usage_days ({', '.join(_SUM_COLUMNS)}) VALUES ({', '.join(values)}) "  # noqa: S608  # names of columns only
        f"ON CONFLICT ({', '.join(DayKey._fields)}) DO UPDATE SET {', '.join(changes)}"
    )


_ADD_SUMS_SQLITE: Final = _add_sums("?" * len(_SUM_COLUMNS))
_ADD_SUMS_POSTGRESQL: Final = _add_sums([f"${at + 1}" for at in range(len(_SUM_COLUMNS))])


@contextmanager
def _sqlite_errors() -> Iterator[None]:
    """Raises DuplicateEntry and LedgerUnavailable."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise DuplicateEntry from error
    except sqlite3.Error as error:
        raise _unavailable(error) from error


@contextmanager
def _postgresql_errors() -> Iterator[None]:
    """Raises DuplicateEntry and LedgerUnavailable."""
    import asyncpg  # type: ignore[import-untyped]  # noqa: PLC0415  # only where PostgreSQL is used

    try:
        yield
    except asyncpg.UniqueViolationError as error:
        raise DuplicateEntry from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> LedgerUnavailable:
    return LedgerUnavailable(f"the ledger's database: {type(error).__name__}: {error}")


def _row(seq: int, namespace: str, entry: Entry, recorded_at_milliseconds: int) -> tuple[Any, ...]:
    """In the order of the table's columns."""
    record = entry.record
    return (
        seq,
        record.request_id,
        entry.revision,
        namespace,
        record.token,
        record.endpoint,
        entry.quota,
        record.operation,
        int(entry.source),
        entry.started_at_milliseconds,
        record.duration_milliseconds,
        record.first_byte_milliseconds,
        record.status_code,
        record.response_flags,
        record.stream,
        record.replica,
        entry.requests,
        entry.prompt_tokens,
        entry.completion_tokens,
        recorded_at_milliseconds,
    )


def insert(table: sa.Table, *, sqlite: bool) -> Any:
    """INSERT ... ON CONFLICT, which both databases have but SQLAlchemy's common INSERT has not."""
    if sqlite:
        from sqlalchemy.dialects import sqlite as dialect  # noqa: PLC0415  # only the dialect that is used
    else:
        from sqlalchemy.dialects import postgresql as dialect  # type: ignore[no-redef]  # noqa: PLC0415
    return dialect.insert(table)


# Statements are made once: SQLAlchemy finds the compiled form of the same object in microseconds, and needs up to a
# millisecond for an equal one.


@cache
def _add_batch_ids(sqlite: bool) -> Any:
    return insert(BATCHES, sqlite=sqlite).on_conflict_do_nothing().returning(BATCHES.c.id)


@cache
def _add_open(sqlite: bool) -> Any:
    return insert(OPEN, sqlite=sqlite).on_conflict_do_nothing()


_DELETE_OPEN: Final = sa.delete(OPEN).where(OPEN.c.request_id == sa.bindparam("ended"))
_MARK_CHARGED: Final = sa.update(OPEN).where(OPEN.c.request_id == sa.bindparam("id")).values(charged=True)
_PREVIOUS_SEQ = sa.select(sa.func.coalesce(sa.func.max(CHANGES.c.seq), 0)).where(
    CHANGES.c.namespace == sa.bindparam("of_namespace")
)
_ADD_CHANGE: Final = sa.insert(CHANGES).values(previous_seq=_PREVIOUS_SEQ.scalar_subquery())
