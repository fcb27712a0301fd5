"""The ledger on both databases (each test with these fixtures runs twice), and counters in a Valkey."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from arks.kit.testing.servers import Server
from arks.token_quota.adapters.counters import RedisCounters
from arks.token_quota.adapters.database import Database
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.adapters.tables import CLOCK
from arks.token_quota.testing.counters import connect
from arks.token_quota.testing.postgresql import execute


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/ledger/ledger.db"
    return str(request.getfixturevalue("postgresql_url"))


@pytest_asyncio.fixture
async def bare_database(database_url: str) -> AsyncIterator[Database]:
    """Without any table."""
    database = Database(database_url)
    if not database.sqlite:
        await execute(database_url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    yield database
    await database.close()


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """With the ledger's tables, empty."""
    database = Database(database_url)
    await database.migrate()
    if not database.sqlite:  # emptying the tables takes 10 ms, making them again 300
        names = [table.name for table in CLOCK.metadata.sorted_tables if table is not CLOCK]
        await execute(database_url, f"TRUNCATE {', '.join(names)}", "UPDATE ledger_clock SET seq = 0")
    yield database
    await database.close()


@pytest.fixture
def ledger(database: Database) -> SqlLedger:
    return SqlLedger(database)


@pytest_asyncio.fixture
async def counters(valkey: Server) -> AsyncIterator[RedisCounters]:
    made = connect(valkey)
    yield made
    await made.close()
