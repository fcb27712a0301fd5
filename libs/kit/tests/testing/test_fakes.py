"""One suite for FakeResources and for LocalResources on a real NATS."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from arks.contracts.resources import ArksQuota, ArksQuotaStatus
from arks.kit.home import LocalHome, Resources
from arks.kit.key import Key
from arks.kit.resources import LocalResources
from arks.kit.settings import Settings
from arks.kit.testing import manifests
from arks.kit.testing.fakes import FakeResources, FakeSecrets
from arks.kit.testing.servers import nats_server
from arks.kit.testing.wait import eventually

KEY, FINALIZER = Key("default", "basic"), "quota.arks.ai/controller"
QUOTA = ArksQuota.from_dict(manifests.quota("basic", total=100))
STATUS = ArksQuotaStatus(conditions=[], observed_generation=1)


@dataclass
class Subject:
    resources: Resources[ArksQuota]
    delete: Callable[[], Awaitable[object]]
    """As a user's delete: with finalizers the resource is only marked."""

    @property
    def quota(self) -> ArksQuota | None:
        return self.resources.cache.get(KEY)

    @property
    def finalizers(self) -> list[str] | None:
        return self.quota.metadata.finalizers if self.quota is not None else None


@asynccontextmanager
async def fake(_: Path) -> AsyncIterator[Subject]:
    resources = FakeResources(QUOTA)

    async def delete() -> None:
        quota = resources.current(KEY)
        if not quota.metadata.finalizers:
            resources.remove(KEY)
            return
        metadata = quota.metadata.model_validate({"name": "basic", "deletionTimestamp": "2026-01-01T00:00:00Z"})
        deletion = {"deletion_timestamp": metadata.deletion_timestamp}
        resources.put(quota.model_copy(update={"metadata": quota.metadata.model_copy(update=deletion)}))

    yield Subject(resources, delete)


@asynccontextmanager
async def local(directory: Path) -> AsyncIterator[Subject]:
    async with nats_server(directory / "nats") as nats:
        home = LocalHome("test", Settings(nats_url=f"nats://127.0.0.1:{nats.port}", state_dir=directory))
        await home.start()
        resources = LocalResources(home.bus, ArksQuota)
        watching = asyncio.create_task(resources.run())
        await resources.apply(QUOTA)
        yield Subject(resources, lambda: resources.delete(KEY))
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await home.stop()


@pytest_asyncio.fixture(params=[fake, pytest.param(local, marks=pytest.mark.real)])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    async with request.param(tmp_path) as made:
        await eventually(lambda: made.quota is not None)
        yield made


async def test_a_written_status_is_in_the_cache(subject: Subject) -> None:
    await subject.resources.patch_status(KEY, STATUS)
    await eventually(lambda: subject.quota is not None and subject.quota.status == STATUS)


async def test_a_finalizer_is_added_once_and_removed(subject: Subject) -> None:
    for _ in range(2):
        await subject.resources.add_finalizer(KEY, FINALIZER)
    await eventually(lambda: subject.finalizers == [FINALIZER])
    await subject.resources.remove_finalizer(KEY, FINALIZER)
    await eventually(lambda: subject.finalizers == [])


async def test_a_deleted_resource_stays_until_its_last_finalizer_is_removed(subject: Subject) -> None:
    await subject.resources.add_finalizer(KEY, FINALIZER)
    await subject.delete()
    await eventually(lambda: subject.quota is not None and subject.quota.metadata.deletion_timestamp)
    await subject.resources.add_finalizer(KEY, "too/late")
    assert [FINALIZER] == subject.finalizers
    await subject.resources.remove_finalizer(KEY, FINALIZER)
    await eventually(lambda: subject.quota is None)


async def test_writes_to_an_absent_resource_do_nothing(subject: Subject) -> None:
    absent = Key("default", "absent")
    await subject.resources.patch_status(absent, STATUS)
    await subject.resources.add_finalizer(absent, FINALIZER)
    await subject.resources.remove_finalizer(absent, FINALIZER)
    assert subject.resources.cache.get(absent) is None


async def test_a_lagging_cache_shows_writes_when_it_has_caught_up() -> None:
    resources = FakeResources(QUOTA, lagging=True)
    await resources.patch_status(KEY, STATUS)
    assert resources.cache.get(KEY) == QUOTA
    resources.catch_up()
    assert resources.cache.get(KEY) == resources.current(KEY) != QUOTA
    assert [STATUS] == resources.statuses


async def test_secrets_are_read_by_key() -> None:
    secrets = FakeSecrets({KEY: {"key": b"value"}})
    assert {"key": b"value"} == await secrets.read(KEY)
    assert await secrets.read(Key("default", "absent")) is None
    assert [KEY, Key("default", "absent")] == secrets.reads
