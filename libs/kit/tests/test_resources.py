"""The store of one machine follows the rules of the API server that services rely on."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from arks.contracts.resources import ArksQuota, ArksQuotaStatus
from arks.contracts.subjects import RESOURCES_BUCKET
from arks.kit.home import LocalHome
from arks.kit.key import Key
from arks.kit.resources import Applied, LocalRecords, LocalResources
from arks.kit.testing.servers import Server
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real
KEY = Key("default", "basic")


def quota(value: int = 100, labels: dict[str, str] | None = None) -> ArksQuota:
    return ArksQuota.from_dict(
        {
            "apiVersion": "arks.ai/v1",
            "kind": "ArksQuota",
            "metadata": {"name": "basic", "labels": labels or {}},
            "spec": {"quotas": [{"type": "total", "value": value}]},
        }
    )


@pytest_asyncio.fixture
async def quotas(home: LocalHome) -> AsyncIterator[LocalResources[ArksQuota]]:
    await home.start()
    resources = LocalResources(home.bus, ArksQuota)
    watching = asyncio.create_task(resources.run())
    await resources.cache.synced.wait()
    yield resources
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_generation_rises_with_the_spec_and_with_nothing_else(quotas: LocalResources[ArksQuota]) -> None:
    assert Applied.CREATED == await quotas.apply(quota(100))
    assert Applied.UNCHANGED == await quotas.apply(quota(100))
    assert Applied.CONFIGURED == await quotas.apply(quota(100, labels={"team": "a"}))
    first = await quotas.read(KEY)
    assert first is not None
    await quotas.patch_status(KEY, ArksQuotaStatus(conditions=[]))
    assert Applied.CONFIGURED == await quotas.apply(quota(200))
    second = await quotas.read(KEY)
    assert second is not None
    assert (1, 2) == (first.metadata.generation, second.metadata.generation)
    assert first.metadata.uid == second.metadata.uid
    assert {} == second.metadata.labels


async def test_a_watched_resource_has_the_version_of_its_last_write(quotas: LocalResources[ArksQuota]) -> None:
    async def watched_version() -> str | None:
        stored, watched = await quotas.read(KEY), quotas.cache.get(KEY)
        return watched.metadata.resource_version if watched == stored and watched is not None else None

    await quotas.apply(quota(1))
    first = await eventually(watched_version)
    await quotas.patch_status(KEY, ArksQuotaStatus(observed_generation=1, conditions=[]))
    second = await eventually(lambda: _newer(quotas, first))
    await quotas.apply(quota(2))
    await eventually(lambda: _newer(quotas, second))
    assert await watched_version() is not None


def _newer(quotas: LocalResources[ArksQuota], version: str | None) -> str | None:
    watched = quotas.cache.get(KEY)
    now = watched.metadata.resource_version if watched is not None else None
    return now if now is not None and int(now) > int(version or 0) else None


async def test_a_watch_sees_creation_change_and_deletion(quotas: LocalResources[ArksQuota]) -> None:
    await quotas.apply(quota(1))
    await eventually(lambda: KEY in dict(quotas.cache.items()))
    await quotas.apply(quota(2))
    await eventually(lambda: (found := quotas.cache.get(KEY)) and found.metadata.generation == 2)
    assert await quotas.delete(KEY)
    await eventually(lambda: quotas.cache.get(KEY) is None)
    assert not await quotas.delete(KEY)


async def test_a_resource_is_deleted_when_its_last_finalizer_is_removed(
    quotas: LocalResources[ArksQuota],
) -> None:
    await quotas.apply(quota())
    await quotas.add_finalizer(KEY, "quota.arks.ai/controller")
    await quotas.delete(KEY)
    waiting = await quotas.read(KEY)
    assert waiting is not None and waiting.metadata.deletion_timestamp is not None
    await quotas.remove_finalizer(KEY, "quota.arks.ai/controller")
    assert await quotas.read(KEY) is None
    assert Applied.CREATED == await quotas.apply(quota())


async def test_concurrent_writers_lose_no_change(quotas: LocalResources[ArksQuota]) -> None:
    await quotas.apply(quota())
    await asyncio.gather(*(quotas.add_finalizer(KEY, f"f{number}.arks.ai/x") for number in range(4)))
    raced = await quotas.read(KEY)
    assert raced is not None
    assert {f"f{number}.arks.ai/x" for number in range(4)} == set(raced.metadata.finalizers)


async def test_the_cache_is_current_again_after_nats_was_killed(
    quotas: LocalResources[ArksQuota], nats: Server
) -> None:
    await quotas.apply(quota(1))
    await nats.kill()
    await nats.restart()
    await eventually(lambda: quotas.apply(quota(2)))
    await eventually(lambda: (found := quotas.cache.get(KEY)) and found.metadata.generation == 2)


async def test_an_unreadable_resource_hides_no_other(quotas: LocalResources[ArksQuota], home: LocalHome) -> None:
    bucket = await home.bus.bucket(RESOURCES_BUCKET)
    await bucket.put("arksquotas.default.broken", b"{not json")
    await quotas.apply(quota())
    await eventually(lambda: quotas.cache.get(KEY) is not None)
    broken = Key("default", "broken")
    assert (None, True) == (quotas.cache.get(broken), quotas.cache.exists(broken))


async def test_a_resource_of_a_newer_version_keeps_its_last_spec_and_can_be_deleted(
    quotas: LocalResources[ArksQuota], home: LocalHome
) -> None:
    await quotas.apply(quota(7))
    await quotas.add_finalizer(KEY, "a.arks.ai/x")
    bucket = await home.bus.bucket(RESOURCES_BUCKET)
    entry = await bucket.get("arksquotas.default.basic")
    stored = json.loads(entry.value or b"")
    stored["spec"]["period"] = "week"
    await bucket.put("arksquotas.default.basic", json.dumps(stored).encode())
    await eventually(lambda: quotas.cache.unreadable(KEY))
    known = quotas.cache.get(KEY)
    assert known is not None and 7 == known.spec.quotas[0].value
    await quotas.patch_status(KEY, ArksQuotaStatus(observed_generation=1))
    newest = json.loads((await bucket.get("arksquotas.default.basic")).value or b"")
    assert ["Accepted False InvalidSpec"] == [
        f"{condition['type']} {condition['status']} {condition['reason']}"
        for condition in newest["status"]["conditions"]
    ]
    await quotas.delete(KEY)
    await eventually(lambda: (found := quotas.cache.get(KEY)) and found.metadata.deletion_timestamp)
    await quotas.remove_finalizer(KEY, "a.arks.ai/x")
    await eventually(lambda: not quotas.cache.exists(KEY))


@pytest.mark.parametrize("value", [b"", b"not JSON", b"[]", b"{}", b'{"metadata": 7}'])
async def test_an_entry_that_is_no_resource_hides_no_other(
    home: LocalHome, quotas: LocalResources[ArksQuota], value: bytes
) -> None:
    bucket = await home.bus.bucket(RESOURCES_BUCKET)
    await bucket.put("arksquotas.default.damaged", value)
    await quotas.apply(quota(1))
    await eventually(lambda: quotas.cache.get(KEY))
    assert quotas.cache.get(Key("default", "damaged")) is None


async def test_a_record_is_what_was_kept_of_the_newest_state(
    home: LocalHome, quotas: LocalResources[ArksQuota]
) -> None:
    def limit(quota: ArksQuota) -> int:
        if not quota.spec.quotas[0].value:
            raise ValueError("no limit")
        return quota.spec.quotas[0].value

    records = LocalRecords(quotas, limit)
    watching = asyncio.create_task(records.run())
    await quotas.apply(quota(7))
    await eventually(lambda: records.cache.get(KEY) == 7)
    await records.patch_status(KEY, ArksQuotaStatus(observed_generation=1))
    stored = await quotas.read(KEY)
    assert stored is not None and stored.status == ArksQuotaStatus(observed_generation=1)
    await quotas.apply(quota(8))
    await eventually(lambda: records.cache.get(KEY) == 8)
    await quotas.apply(quota(0))
    await eventually(lambda: records.cache.unreadable(KEY))
    assert 8 == records.cache.get(KEY), "what cannot be kept is not deleted"
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
