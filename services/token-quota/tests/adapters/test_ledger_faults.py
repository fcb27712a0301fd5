"""The ledger's database beside other writers, and when it fails: SQLite and PostgreSQL."""

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from arks.token_quota.adapters import database as database_module
from arks.token_quota.adapters.database import Database
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.adapters.tables import CLOCK
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.ports.ledger import LedgerUnavailable
from arks.token_quota.testing.postgresql import execute
from arks.token_quota.testing.usage import STARTED_AT_MILLISECONDS, batch, record

pytestmark = pytest.mark.real

on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
NOW = Moment(STARTED_AT_MILLISECONDS)


async def post(ledger: SqlLedger, *request_ids: str) -> None:
    await ledger.post([batch(*map(record, request_ids))], lambda *_: "q", NOW)


def write_elsewhere(database: Database, url: str, statement: str) -> Callable[[sa.Connection], None]:
    """Return what another process does, to be called in the middle of a transaction."""

    def write(connection: sa.Connection) -> None:
        if database.sqlite:
            with contextlib.closing(sqlite3.connect(str(sa.make_url(url).database), timeout=0)) as other:
                other.execute(statement)
                other.commit()
        else:
            driver: Any = connection.connection.dbapi_connection
            driver.run_async(lambda _: execute(url, statement))

    return write


async def test_a_read_sees_one_state_while_others_write(database: Database, database_url: str) -> None:
    """Else sums would contain changes that their sequence number does not."""
    write = write_elsewhere(database, database_url, "UPDATE ledger_clock SET seq = 41")

    def read(connection: sa.Connection) -> tuple[int, int]:
        before = connection.execute(sa.select(CLOCK.c.seq)).scalar_one()
        write(connection)
        return before, connection.execute(sa.select(CLOCK.c.seq)).scalar_one()

    assert (0, 0) == await database.read(read)
    assert 41 == await SqlLedger(database).last_seq()


async def test_a_ledger_on_sqlite_survives_a_power_cut_and_is_for_its_owner_only(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/ledger/ledger.db")
    found = await database.read(
        lambda connection: [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "journal_mode")
        ]
    )
    await database.close()
    assert ([2, "wal"], 0o700) == (found, (tmp_path / "ledger").stat().st_mode & 0o777)


async def test_a_full_disk_is_an_error_of_the_ledger_and_nothing_is_written(
    empty_ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shutil.copy(empty_ledger, tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
    monkeypatch.setattr(database_module, "_PRAGMAS", (*database_module._PRAGMAS, f"max_page_count={pages + 4}"))
    database = Database(f"sqlite:///{path}")
    ledger = SqlLedger(database)
    with pytest.raises(LedgerUnavailable, match="full"):
        await post(ledger, *(f"r{number}" for number in range(1000)))
    assert ({}, 0) == (await ledger.heads(), await ledger.last_seq())
    await post(ledger, "r1")
    await database.close()


@on_postgresql
async def test_a_database_that_closes_its_connections_is_connected_to_again(
    database: Database, database_url: str
) -> None:
    """As after a failover: the first transaction after it does not fail."""
    ledger = SqlLedger(database)
    await ledger.last_seq()
    others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
    await execute(database_url, f"SELECT pg_terminate_backend(pid) {others}")
    await post(ledger, "r1")


@on_postgresql
@pytest.mark.parametrize("locked", ["ledger_clock", "usage_entries", "usage_days"])
async def test_a_statement_that_waits_too_long_is_an_error_of_the_ledger(
    database: Database, database_url: str, locked: str
) -> None:
    impatient, blocker = Database(database_url, timeout_seconds=0.3), create_async_engine(database_url)
    async with blocker.begin() as connection:
        await connection.execute(sa.text(f"LOCK TABLE {locked} IN EXCLUSIVE MODE"))
        with pytest.raises(LedgerUnavailable):
            await post(SqlLedger(impatient), "r1")
    await post(SqlLedger(database), "r1")
    await blocker.dispose()
    await impatient.close()


@on_postgresql
@pytest.mark.parametrize("table", ["usage_entries", "usage_days"])
async def test_rows_that_postgresql_refuses_are_an_error_of_the_ledger(
    database: Database, database_url: str, table: str
) -> None:
    await execute(database_url, f"ALTER TABLE {table} ADD CONSTRAINT none CHECK (requests < 0)")
    with pytest.raises(LedgerUnavailable, match="CheckViolation"):
        await post(SqlLedger(database), "r1")
    await execute(database_url, f"ALTER TABLE {table} DROP CONSTRAINT none")
    await post(SqlLedger(database), "r1")


async def waits_for_a_lock(connection: AsyncConnection, task: "asyncio.Task[Any]") -> bool:
    """Return whether the task's statement waits, once it does or the task has ended."""
    waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    while not task.done():
        if (await connection.execute(waiting)).scalar_one():
            return True
        await asyncio.sleep(0.01)
    return False


@on_postgresql
@pytest.mark.parametrize(
    ("lock", "begin"),
    [
        ("UPDATE ledger_clock SET seq = seq", lambda database: SqlLedger(database).reset("team", "q", 1, NOW)),
        (f"SELECT pg_advisory_xact_lock({database_module._MIGRATION_LOCK})", Database.migrate),
    ],
    ids=["reset", "migration"],
)
async def test_what_two_replicas_may_do_at_once_is_done_one_after_the_other(
    database: Database, database_url: str, lock: str, begin: Callable[[Database], Coroutine[Any, Any, Any]]
) -> None:
    """Else a reset of an earlier generation could replace a later one, and one table could be made twice."""
    other = create_async_engine(database_url)
    async with other.begin() as connection:
        await connection.execute(sa.text(lock))
        task = asyncio.create_task(begin(database))
        assert await waits_for_a_lock(connection, task)
    await task
    await other.dispose()
