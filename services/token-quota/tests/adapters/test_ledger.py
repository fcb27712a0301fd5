"""One promise list for both databases: SQLite always, PostgreSQL wherever ARKS_TEST_DATABASE_URL names one."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

from arks.contracts.resources import QuotaPeriod
from arks.contracts.usage import UsageSource
from arks.token_quota.adapters import database as database_module
from arks.token_quota.adapters.database import HEAD, Database
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.domain.limits import Budget, RateUse
from arks.token_quota.domain.time import Moment
from arks.token_quota.domain.usage import Usage
from arks.token_quota.service.ports.ledger import LedgerUnavailable, UsageFilter

pytestmark = pytest.mark.real

NOW = Moment(1_800_000_000_000)
DAY = NOW.day
POSTGRESQL = os.environ.get("ARKS_TEST_DATABASE_URL")
USAGE = Usage(
    request_id="r1",
    namespace="team",
    token="tom",
    endpoint="qwen",
    quota="q",
    operation="chat.completions",
    source=UsageSource.ENGINE,
    started_at_milliseconds=NOW.milliseconds,
    prompt_tokens=10,
    completion_tokens=20,
    status_code=200,
    stream=True,
)


@pytest_asyncio.fixture(params=["sqlite", "postgresql"] if POSTGRESQL else ["sqlite"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite+aiosqlite:///{tmp_path}/ledger/ledger.db" if request.param == "sqlite" else str(POSTGRESQL)
    made = Database(url)
    if not made.sqlite:
        async with made.writing() as connection:
            await connection.execute(sa.text("DROP SCHEMA public CASCADE"))
            await connection.execute(sa.text("CREATE SCHEMA public"))
    await made.migrate()
    yield made
    await made.close()


@pytest.fixture
def ledger(database: Database) -> SqlLedger:
    return SqlLedger(database)


def usage(number: int, **changes: object) -> Usage:
    return replace(USAGE, request_id=f"r{number}", **changes)  # type: ignore[arg-type]


async def test_a_record_that_comes_again_is_not_written_again(ledger: SqlLedger) -> None:
    assert 1 == len(await ledger.post([USAGE], NOW))
    assert [] == await ledger.post([USAGE], NOW)
    (row,) = await ledger.usage_sums(UsageFilter(), ["token"])
    assert ("tom", 1, 10, 20) == (row.token, row.requests, row.prompt_tokens, row.completion_tokens)


async def test_batches_written_at_the_same_time_get_rising_numbers_and_lose_nothing(ledger: SqlLedger) -> None:
    await asyncio.gather(*(ledger.post([usage(n) for n in range(k, k + 20)], NOW) for k in range(0, 100, 10)))
    entries = await ledger.entries("team", 0, 1000)
    assert 110 == len({entry.request_id for entry in entries}) == len(entries)
    assert sorted({entry.seq for entry in entries}) == [entry.seq for entry in entries]


async def test_two_processes_write_one_ledger(ledger: SqlLedger, database: Database) -> None:
    other_database = Database(database._engine.url.render_as_string(hide_password=False))
    other = SqlLedger(other_database)
    await asyncio.gather(
        *(
            writer.post([usage(n), usage(1000 + n * 2 + at)], NOW)
            for n in range(20)
            for at, writer in enumerate((ledger, other))
        )
    )
    await other_database.close()
    entries = await ledger.entries("team", 0, 1000)
    assert 60 == len({entry.request_id for entry in entries}) == len({entry.seq for entry in entries}) == len(entries)


async def test_a_true_record_replaces_a_charged_reservation(ledger: SqlLedger) -> None:
    await ledger.post([usage(1, source=UsageSource.RESERVATION, prompt_tokens=100, completion_tokens=200)], NOW)
    await ledger.post([USAGE], NOW)
    await ledger.post([USAGE], NOW)
    (row,) = await ledger.usage_sums(UsageFilter(), [])
    assert (1, 10, 20) == (row.requests, row.prompt_tokens, row.completion_tokens)
    by_source = {row.source: row.requests for row in await ledger.usage_sums(UsageFilter(), ["source"])}
    assert {UsageSource.ENGINE: 1, UsageSource.RESERVATION: 0} == by_source


async def test_entries_are_read_in_order_from_where_one_stopped(ledger: SqlLedger) -> None:
    await ledger.post([usage(n) for n in range(5)], NOW)
    first = await ledger.entries("team", 0, 2)
    rest = await ledger.entries("team", first[-1].seq, 10)
    assert ["r0", "r1", "r2", "r3", "r4"] == [entry.request_id for entry in (*first, *rest)]
    assert await ledger.last_seq() == rest[-1].seq == (await ledger.heads())["team"]


async def test_heads_are_those_after_a_given_entry(ledger: SqlLedger) -> None:
    await ledger.post([usage(1), usage(2, namespace="other")], NOW)
    last = await ledger.last_seq()
    await ledger.post([usage(3)], NOW)
    assert {"team": 3, "other": 2} == await ledger.heads()
    assert {"team": 3} == await ledger.heads(last)


async def test_old_entries_go_and_their_sums_stay(ledger: SqlLedger) -> None:
    await ledger.post([usage(n) for n in range(5)], NOW)
    later = Moment(NOW.milliseconds + 1000)
    await ledger.post([usage(9)], later)
    assert [3, 2, 0] == [await ledger.prune(later.milliseconds, 3) for _ in range(3)]
    assert ["r9"] == [entry.request_id for entry in await ledger.entries("team", 0, 10)]
    (row,) = await ledger.usage_sums(UsageFilter(), [])
    assert 6 == row.requests


async def test_sums_are_grouped_and_filtered(ledger: SqlLedger) -> None:
    yesterday = NOW.milliseconds - 86_400_000
    await ledger.post(
        [
            usage(1),
            usage(2, token="ann"),
            usage(3, started_at_milliseconds=yesterday),
            usage(4, namespace="other"),
            usage(5, endpoint="phi"),
        ],
        NOW,
    )
    found = await ledger.usage_sums(UsageFilter(namespace="team", first_day=DAY), ["token", "endpoint"])
    assert [("ann", "qwen", 1), ("tom", "phi", 1), ("tom", "qwen", 1)] == [
        (row.token, row.endpoint, row.requests) for row in found
    ]
    days = await ledger.usage_sums(UsageFilter(namespace="team", endpoint="qwen", token="tom"), ["day"])
    assert [DAY - 1, DAY] == [row.day for row in days]


async def test_nothing_used_adds_up_to_no_rows(ledger: SqlLedger) -> None:
    assert [] == await ledger.usage_sums(UsageFilter(), [])


async def test_window_sums_are_what_started_in_the_current_minute_and_day(ledger: SqlLedger) -> None:
    earlier = NOW.minute * 60_000 - 1
    await ledger.post([usage(1), usage(2, started_at_milliseconds=earlier), usage(3, token="ann")], NOW)
    found = await ledger.window_sums("team", "tom", "qwen", NOW)
    assert (RateUse(1, 30, 2, 60), 3) == (found.use, found.upto)


async def test_budget_sums_are_those_of_the_period(ledger: SqlLedger) -> None:
    await ledger.post(
        [usage(1), usage(2, started_at_milliseconds=NOW.milliseconds - 86_400_000), usage(3, quota="")], NOW
    )
    life = await ledger.budget_sums("team", Budget("q"), NOW)
    day = await ledger.budget_sums("team", Budget("q", QuotaPeriod.DAY), NOW)
    assert ((20, 40), (10, 20)) == (
        (life.prompt_tokens, life.completion_tokens),
        (day.prompt_tokens, day.completion_tokens),
    )


async def test_a_reset_starts_a_budget_again_once_a_generation(ledger: SqlLedger) -> None:
    await ledger.post([usage(1)], NOW)
    assert 1 == await ledger.reset("team", "q", 1, NOW)
    await ledger.post([usage(2)], NOW)
    assert 1 == await ledger.reset("team", "q", 1, NOW)
    sums = await ledger.budget_sums("team", Budget("q", QuotaPeriod.MONTH), NOW)
    assert ((10, 20), {("team", "q"): 1}) == ((sums.prompt_tokens, sums.completion_tokens), await ledger.resets())


async def test_a_reset_of_an_earlier_period_no_longer_matters(ledger: SqlLedger) -> None:
    await ledger.reset("team", "q", 1, Moment(NOW.milliseconds - 86_400_000))
    await ledger.post([usage(1)], NOW)
    sums = await ledger.budget_sums("team", Budget("q", QuotaPeriod.DAY), NOW)
    assert 10 == sums.prompt_tokens


async def test_a_batch_of_500_is_one_transaction(ledger: SqlLedger) -> None:
    assert 500 == len(await ledger.post([usage(n) for n in range(500)], NOW))


async def test_migrating_again_or_twice_at_once_changes_nothing(database: Database, ledger: SqlLedger) -> None:
    await ledger.post([USAGE], NOW)
    await asyncio.gather(database.migrate(), database.migrate())
    assert 1 == await ledger.last_seq()


async def test_the_migrations_make_exactly_the_tables_of_the_models(database: Database) -> None:
    def differences(connection: sa.Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), SQLModel.metadata))

    async with database.reading() as connection:
        assert [] == await connection.run_sync(differences)


def test_the_newest_migration_is_the_one_that_the_code_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(database_module.__file__).parent / "migrations"))
    assert HEAD == ScriptDirectory.from_config(config).get_current_head()


async def test_a_database_that_cannot_be_opened_is_an_error_without_its_address(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("no database at all, just text that is long enough to be read as one" * 20)
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/ledger.db")
    with pytest.raises(LedgerUnavailable, match="not a database"):
        await database.migrate()
    await database.close()
