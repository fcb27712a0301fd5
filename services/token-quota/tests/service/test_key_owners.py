"""Which namespace has a key, over restarts and with several replicas, on a real SQLite."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from arks.contracts.resources import ArksToken
from arks.kit.key import Key
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.wait import eventually
from arks.token_quota.adapters.database import Database
from arks.token_quota.adapters.key_owners import SqlKeyOwners
from arks.token_quota.domain.key_holders import KeyOwner
from arks.token_quota.service.key_owners import EXPIRE_SECONDS, KeyOwners
from arks.token_quota.service.ports.ledger import LedgerUnavailable
from arks.token_quota.testing.fakes import Harness, token

TOM, ANN = Key("team", "tom"), Key("rivals", "ann")
DAY_SECONDS = 86_400.0
TOMS, ANNS = token("tom", "sk-same"), token("ann", "sk-same", namespace="rivals", created="2026-02-01T00:00:00Z")


class Replica:
    """A start of the service."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.harness = Harness()
        self.owners = KeyOwners(self.harness.index, SqlKeyOwners(database), clock, DAY_SECONDS)
        self.due: list[Key] = []
        self.harness.index.token_changes.subscribe(self.due.append)

    async def start(self, *tokens: ArksToken) -> "Replica":
        await self.owners.load()
        self.harness.add(*tokens)
        await self.owners.settle()
        await self.owners.step()
        return self

    def delete(self, key: Key) -> None:
        self.harness.tokens.apply(key, None)

    @property
    def holder(self) -> str | None:
        found = self.harness.index.holder("sk-same")
        return None if found is None else found.policy.name


@pytest_asyncio.fixture
async def database(empty_ledger: Path, tmp_path: Path) -> AsyncIterator[Database]:
    shutil.copy(empty_ledger, tmp_path / "owners.db")
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/owners.db")
    yield database
    await database.close()


async def test_a_token_that_is_deleted_while_the_service_is_away_passes_its_key_to_no_other_namespace(
    database: Database, clock: FakeClock
) -> None:
    await Replica(database, clock).start(TOMS, ANNS)
    again = await Replica(database, clock).start(ANNS)
    assert None is again.holder
    again.harness.add(TOMS)
    assert "tom" == again.holder


async def test_a_restart_gives_a_key_to_the_same_token_even_if_the_other_one_is_older(
    database: Database, clock: FakeClock
) -> None:
    first = await Replica(database, clock).start(ANNS)
    first.harness.add(TOMS)
    again = await Replica(database, clock).start(TOMS, ANNS)
    assert ("ann", "ann") == (first.holder, again.holder)


async def test_a_deleted_tokens_key_is_free_after_the_time_of_the_setting(database: Database, clock: FakeClock) -> None:
    replica = await Replica(database, clock).start(TOMS, ANNS)
    replica.delete(TOM)
    await replica.owners.step()
    again = await Replica(database, clock).start(ANNS)
    clock.advance(DAY_SECONDS - EXPIRE_SECONDS)
    await again.owners.step()
    assert None is again.holder
    again.due.clear()
    clock.advance(2 * EXPIRE_SECONDS)
    await again.owners.step()
    assert [ANN] == again.due
    assert "ann" == (await Replica(database, clock).start(TOMS, ANNS)).holder


async def test_replicas_that_see_two_claims_in_another_order_agree(database: Database, clock: FakeClock) -> None:
    first, second = await Replica(database, clock).start(), await Replica(database, clock).start()
    first.harness.add(ANNS)
    second.harness.add(TOMS)
    await first.owners.step()
    await second.owners.step()
    first.harness.add(TOMS)
    second.harness.add(ANNS)
    assert ("ann", "ann") == (first.holder, second.holder)


class AwayOnce(SqlKeyOwners):
    away = True

    async def record_key_owners(self, rows: Sequence[KeyOwner]) -> list[KeyOwner]:
        if self.away:
            self.away = False
            raise LedgerUnavailable("away")
        return await super().record_key_owners(rows)


async def test_owners_are_written_when_the_ledger_is_back(database: Database, clock: FakeClock) -> None:
    harness = Harness()
    owners = KeyOwners(harness.index, AwayOnce(database), clock, DAY_SECONDS)
    await owners.load()
    harness.add(TOMS)
    await owners.settle()
    with pytest.raises(LedgerUnavailable):
        await owners.step()
    await owners.step()
    assert [("team", None)] == [row[1:] for row in await SqlKeyOwners(database).key_owners()]


async def test_the_loop_writes_by_itself(database: Database, clock: FakeClock) -> None:
    replica = Replica(database, clock)
    running = asyncio.create_task(replica.owners.run())
    await replica.owners.load()
    replica.harness.add(TOMS)
    await replica.owners.settle()
    store = SqlKeyOwners(database)
    found = await eventually(store.key_owners)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [("team", None)] == [row[1:] for row in found]
