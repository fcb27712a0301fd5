"""The ledger's tables and their migrations, on SQLite and PostgreSQL."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

from arks.contracts.usage import UsageSource
from arks.token_quota.adapters import database as database_module
from arks.token_quota.adapters.database import HEAD, Database
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.domain.limits import Budget, RateUse
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.ports.ledger import LedgerUnavailable, UsageFilter
from arks.token_quota.testing.usage import STARTED_AT_MILLISECONDS, batch, record

pytestmark = pytest.mark.real

NOW = Moment(STARTED_AT_MILLISECONDS)
ENTRY = {
    "revision": 0,
    "namespace": "team",
    "token": "tom",
    "endpoint": "qwen",
    "quota": "q",
    "operation": "completions",
    "started_at_milliseconds": NOW.milliseconds,
    "duration_milliseconds": 1500,
    "first_byte_milliseconds": 0,
    "status_code": 200,
    "response_flags": "",
    "stream": True,
    "replica": "",
    "requests": 1,
    "recorded_at_milliseconds": NOW.milliseconds,
}
DAY = {"namespace": "team", "token": "tom", "endpoint": "qwen", "quota": "q", "day": NOW.day, "requests": 1}


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(database_module.__file__).parent / "migrations"))
    return config


def upgrade_to_0001(connection: sa.Connection) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")


def fill_0001(connection: sa.Connection) -> None:
    """A request counted by its engine and one that is charged its reservation: 110 and 220 tokens; a reset at 5."""
    found = sa.MetaData()
    found.reflect(connection)

    def add(name: str, **values: Any) -> None:
        connection.execute(sa.insert(found.tables[name]).values(**values))

    used = {"prompt_tokens": 10, "completion_tokens": 20, "source": int(UsageSource.ENGINE)}
    reserved = {"prompt_tokens": 100, "completion_tokens": 200, "source": int(UsageSource.RESERVATION)}
    for seq, (request_id, numbers) in enumerate({"counted": used, "charged": reserved}.items(), start=1):
        add("usage_entries", seq=seq, request_id=request_id, **ENTRY, **numbers)
        add("usage_days", last_seq=seq, **DAY, **numbers)
    connection.execute(sa.update(found.tables["ledger_clock"]).values(seq=2))
    reset = {"generation": 3, "reset_at_milliseconds": NOW.milliseconds, "prompt_tokens": 5, "completion_tokens": 5}
    add("quota_resets", namespace="team", quota="q", **reset)


@pytest.fixture
async def upgraded(bare_database: Database) -> SqlLedger:
    """From a ledger of version 0.1 with data."""
    await bare_database.write(upgrade_to_0001)
    await bare_database.write(fill_0001)
    await bare_database.migrate()
    return SqlLedger(bare_database)


async def post(ledger: SqlLedger, request_id: str, **fields: Any) -> None:
    await ledger.post([batch(record(request_id, **fields))], lambda *_: "q", NOW)


async def total(ledger: SqlLedger) -> tuple[int, int, int]:
    (row,) = await ledger.usage_sums(UsageFilter(), [])
    return row.requests, row.prompt_tokens, row.completion_tokens


async def test_a_ledger_of_version_0_1_keeps_its_sums(upgraded: SqlLedger) -> None:
    assert (2, 110, 220) == await total(upgraded)
    assert RateUse(2, 330, 2, 330) == (await upgraded.window_sums("team", "tom", "qwen", NOW)).use
    sums = await upgraded.budget_sums("team", Budget("q"), NOW)
    assert (105, 215, 2) == (sums.prompt_tokens, sums.completion_tokens, sums.upto)
    assert ({("team", "q"): 3}, ["team"]) == (await upgraded.resets(), await upgraded.namespaces())


async def test_a_ledger_of_version_0_1_continues(upgraded: SqlLedger) -> None:
    """Counters that were filled from it contain its entries, so their changes begin with the first batch."""
    assert ({}, []) == (await upgraded.heads(), (await upgraded.changes("team", 0, 10)).changes)
    await post(upgraded, "new")
    (change,) = (await upgraded.changes("team", 0, 10)).changes
    assert (0, True, (3, 120, 240)) == (change.previous_seq, change.seq > 2, await total(upgraded))


async def test_requests_in_a_ledger_of_version_0_1_are_not_charged_again(upgraded: SqlLedger) -> None:
    await post(upgraded, "counted", prompt_tokens=99)
    await post(upgraded, "charged", was_reported_started=True)
    assert (2, 20, 40) == await total(upgraded)


async def test_an_upgraded_ledger_has_exactly_the_tables_of_the_models(upgraded: SqlLedger) -> None:
    await tables_are_those_of_the_models(upgraded._database)


async def test_the_migrations_make_exactly_the_tables_of_the_models(database: Database) -> None:
    await tables_are_those_of_the_models(database)


async def tables_are_those_of_the_models(database: Database) -> None:
    def differences(connection: sa.Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), SQLModel.metadata))

    assert [] == await database.read(differences)


async def test_migrations_lead_back_and_forth(bare_database: Database) -> None:
    await bare_database.migrate()

    def downgrade(connection: sa.Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")

    await bare_database.write(downgrade)
    await bare_database.migrate()
    await tables_are_those_of_the_models(bare_database)


async def test_replicas_that_start_together_migrate_once(bare_database: Database) -> None:
    await asyncio.gather(bare_database.migrate(), bare_database.migrate())
    ledger = SqlLedger(bare_database)
    await post(ledger, "r1")
    await asyncio.gather(bare_database.migrate(), bare_database.migrate())
    assert (1, 10, 20) == await total(ledger)


def test_the_newest_migration_is_the_one_that_the_code_expects() -> None:
    assert HEAD == ScriptDirectory.from_config(alembic_config()).get_current_head()


async def test_a_database_that_cannot_be_opened_is_an_error_without_its_address(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("no database at all, just text that is long enough to be read as one" * 20)
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/ledger.db")
    with pytest.raises(LedgerUnavailable, match="not a database"):
        await database.migrate()
    await database.close()
