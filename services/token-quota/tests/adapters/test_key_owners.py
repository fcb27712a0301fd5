"""Owners of keys on SQLite and PostgreSQL."""

import pytest

from arks.token_quota.adapters.database import Database
from arks.token_quota.adapters.key_owners import SqlKeyOwners
from arks.token_quota.domain.key_holders import KeyOwner

pytestmark = pytest.mark.real
KEY, OTHER = b"\x00 hash of a key", b"hash of another"


async def test_the_first_owner_stays_and_its_release_can_be_written_and_taken_back(database: Database) -> None:
    store = SqlKeyOwners(database)
    written = await store.record_key_owners([KeyOwner(OTHER, "team"), KeyOwner(KEY, "team")])
    refused = await store.record_key_owners([KeyOwner(KEY, "rivals")])
    released = await store.record_key_owners([KeyOwner(KEY, "team", 1_795_000_000_000)])
    back = await store.record_key_owners([KeyOwner(KEY, "team")])
    assert [KeyOwner(KEY, "team"), KeyOwner(OTHER, "team")] == sorted(written)
    assert refused == back == [KeyOwner(KEY, "team")]
    assert [KeyOwner(KEY, "team", 1_795_000_000_000)] == released


async def test_only_rows_that_are_released_no_later_are_forgotten(database: Database) -> None:
    store = SqlKeyOwners(database)
    await store.record_key_owners([KeyOwner(KEY, "team", 5), KeyOwner(OTHER, "team")])
    await store.forget_key_owners([KeyOwner(KEY, "team", 4), KeyOwner(KEY, "rivals", 9), KeyOwner(OTHER, "team", 9)])
    assert 2 == len(await store.key_owners())
    await store.forget_key_owners([KeyOwner(KEY, "team", 5)])
    assert [KeyOwner(OTHER, "team")] == await store.key_owners()
