"""Fakes as fixtures, and a ledger on SQLite that costs milliseconds: its tables are made once and copied."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from arks.kit.testing.clock import FakeClock
from arks.token_quota.adapters.database import Database
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.domain.time import Moment
from arks.token_quota.testing.fakes import FakeCounters, FakeEvents, Harness
from arks.token_quota.testing.postgresql import postgresql_server, temporary_database


@pytest.fixture
def harness() -> Harness:
    return Harness()


@pytest.fixture
def counters() -> FakeCounters:
    return FakeCounters()


@pytest.fixture
def events() -> FakeEvents:
    return FakeEvents()


@pytest.fixture
def noon(clock: FakeClock) -> Moment:
    return Moment(int(clock.timestamp() * 1000))


def sqlite_url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"

    async def migrate() -> None:
        database = Database(sqlite_url(path))
        await database.migrate()
        await database.close()

    asyncio.run(migrate())
    return path


@pytest_asyncio.fixture
async def ledger(empty_ledger: Path, tmp_path: Path) -> AsyncIterator[SqlLedger]:
    path = tmp_path / "ledger.db"
    shutil.copy(empty_ledger, path)
    database = Database(sqlite_url(path))
    yield SqlLedger(database)
    await database.close()


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A database of this run: on the server that ARKS_TEST_DATABASE_URL names, else on one from a package."""
    existing = os.environ.get("ARKS_TEST_DATABASE_URL")
    if existing:
        with temporary_database(existing) as url:
            yield url
    else:
        with postgresql_server() as server, temporary_database(server) as url:
            yield url
