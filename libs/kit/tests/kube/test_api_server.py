"""The Kubernetes side of kit against a real API server."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from arks.contracts.resources import ArksQuota, ArksQuotaStatus
from arks.kit.cache import Cache
from arks.kit.clock import SystemClock
from arks.kit.errors import Invalid
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.election import Election
from arks.kit.kube.events import KubeEvents
from arks.kit.kube.informer import Informer
from arks.kit.kube.kinds import LEASE, Kind
from arks.kit.kube.resources import KubeRecords, KubeResources, kind_of
from arks.kit.kube.secrets import KubeSecrets
from arks.kit.kube.unreadable import UnreadableResources
from arks.kit.testing.kubernetes import ApiServer, api_server
from arks.kit.testing.wait import eventually

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
CRDS = Path(__file__).parents[4] / "charts/arks-crds/templates"
KEY = Key("default", "basic")
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServer]:
    async with api_server(tmp_path_factory.mktemp("kube")) as server:
        for definition in sorted(CRDS.glob("*.yaml")):
            await server.kubectl("apply", "--server-side", "-f", str(definition))
        await server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=90s")
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def api(server: ApiServer) -> AsyncIterator[KubeApi]:
    api = KubeApi("arks-test", CollectorRegistry(), server.kubeconfig)
    await api.start()
    yield api
    await api.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def quotas(api: KubeApi) -> AsyncIterator[KubeResources[ArksQuota]]:
    quotas = KubeResources(api, ArksQuota)
    watching = asyncio.create_task(quotas.run())
    await quotas.cache.synced.wait()
    yield quotas
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await api.delete(kind_of(ArksQuota), KEY)


def quota(value: int = 100) -> dict[str, object]:
    spec = {"quotas": [{"type": "total", "value": value}]}
    return {
        "apiVersion": "arks.ai/v1",
        "kind": "ArksQuota",
        "metadata": {"name": "basic", "namespace": "default"},
        "spec": spec,
    }


async def test_a_watch_sees_creation_change_and_deletion(quotas: KubeResources[ArksQuota], api: KubeApi) -> None:
    await api.apply(kind_of(ArksQuota), quota(1))
    await eventually(lambda: quotas.cache.get(KEY) is not None)
    await api.apply(kind_of(ArksQuota), quota(2))
    await eventually(lambda: (found := quotas.cache.get(KEY)) is not None and found.metadata.generation == 2)
    await api.delete(kind_of(ArksQuota), KEY)
    await eventually(lambda: quotas.cache.get(KEY) is None)


async def test_a_status_is_written_apart_from_the_spec_and_only_when_it_changed(
    quotas: KubeResources[ArksQuota], api: KubeApi
) -> None:
    await api.apply(kind_of(ArksQuota), quota(1))
    await eventually(lambda: quotas.cache.get(KEY) is not None)
    await quotas.patch_status(KEY, ArksQuotaStatus(observed_generation=1))
    await eventually(lambda: (found := quotas.cache.get(KEY)) is not None and found.status is not None)
    before = await api.get(kind_of(ArksQuota), KEY)
    await quotas.patch_status(KEY, ArksQuotaStatus(observed_generation=1))
    after = await api.get(kind_of(ArksQuota), KEY)
    assert before is not None and after is not None
    assert 1 == after["metadata"]["generation"] == after["status"]["observedGeneration"]
    assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


async def test_a_record_is_kept_and_its_whole_status_is_replaced(api: KubeApi) -> None:
    faults: list[str] = []

    def keep(quota: ArksQuota) -> ArksQuotaStatus | None:
        if quota.spec.quotas[0].value == 0:
            raise ValueError("no limit")
        return quota.status

    records = KubeRecords(api, ArksQuota, keep, on_unreadable=lambda kind, obj, fault: faults.append(fault))
    watching = asyncio.create_task(records.run())
    await records.patch_status(KEY, ArksQuotaStatus())  # nothing to write it into
    await api.apply(kind_of(ArksQuota), quota(1))
    for written in (ArksQuotaStatus(observed_generation=1, reset_generation=2), ArksQuotaStatus(observed_generation=3)):
        await records.patch_status(KEY, written)
        await eventually(lambda expected=written: records.cache.get(KEY) == expected)  # type: ignore[misc]
    await api.apply(kind_of(ArksQuota), quota(0))
    await eventually(lambda: records.cache.unreadable(KEY))
    assert (ArksQuotaStatus(observed_generation=3), ["no limit"]) == (records.cache.get(KEY), faults)
    await api.delete(kind_of(ArksQuota), KEY)
    await eventually(lambda: not records.cache.exists(KEY))
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_finalizer_keeps_an_object_until_it_is_removed(quotas: KubeResources[ArksQuota], api: KubeApi) -> None:
    await api.apply(kind_of(ArksQuota), quota())
    await asyncio.gather(quotas.add_finalizer(KEY, "a.arks.ai/x"), quotas.add_finalizer(KEY, "b.arks.ai/x"))
    await api.delete(kind_of(ArksQuota), KEY)
    held = await api.get(kind_of(ArksQuota), KEY)
    assert held is not None and {"a.arks.ai/x", "b.arks.ai/x"} == set(held["metadata"]["finalizers"])
    await quotas.remove_finalizer(KEY, "a.arks.ai/x")
    await quotas.remove_finalizer(KEY, "b.arks.ai/x")
    assert await api.get(kind_of(ArksQuota), KEY) is None


async def test_a_schema_error_names_the_field_and_the_rule(api: KubeApi) -> None:
    wrong = quota()
    wrong["spec"] = {"quotas": [{"type": "total", "value": -1}]}
    with pytest.raises(Invalid, match=r"spec\.quotas\[0\]\.value"):
        await api.apply(kind_of(ArksQuota), wrong)


async def test_an_informer_survives_a_version_that_is_too_old(api: KubeApi, server: ApiServer) -> None:
    cache: Cache[dict[str, object]] = Cache()
    informer = Informer(api, CONFIG_MAP, lambda obj: obj, cache, namespace="default")
    watching = asyncio.create_task(informer.run())
    await cache.synced.wait()
    for number in range(3):
        await api.create(
            CONFIG_MAP, {"metadata": {"name": f"c{number}", "namespace": "default"}, "data": {"big": "x" * 200_000}}
        )
    await eventually(lambda: {f"c{number}" for number in range(3)} <= {key.name for key, _ in cache.items()})
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    for number in range(3):
        assert await api.delete(CONFIG_MAP, Key("default", f"c{number}"))


async def test_one_of_two_leads_and_the_other_leads_at_once_after_a_graceful_stop(api: KubeApi) -> None:
    key = Key("default", "arks-test")
    first, second = (Election(api, key, name, SystemClock()) for name in ("first", "second"))
    tasks = [asyncio.create_task(first.run())]
    await first.leading.wait()
    tasks.append(asyncio.create_task(second.run()))
    await eventually(lambda: _holder(api, key, "first"))
    assert not second.leading.is_set()
    tasks[0].cancel()
    await first.release()
    await asyncio.wait_for(second.leading.wait(), 30)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await api.delete(LEASE, key)


async def _holder(api: KubeApi, key: Key, name: str) -> bool:
    lease = await api.get(LEASE, key)
    return lease is not None and lease["spec"].get("holderIdentity") == name


async def test_a_repeated_event_is_counted_on_one_object(
    quotas: KubeResources[ArksQuota], api: KubeApi, server: ApiServer
) -> None:
    await api.apply(kind_of(ArksQuota), quota())
    about = await eventually(lambda: quotas.cache.get(KEY))
    assert about is not None
    events = KubeEvents(api, "arks-test", SystemClock())
    for _ in range(3):
        await events.emit(about, "QuotaExhausted", "total is used up", warning=True)
    listed = await server.kubectl("get", "events", "-o", "jsonpath={.items[*].count} {.items[*].reason}")
    assert "3 QuotaExhausted" == listed


@pytest.mark.parametrize(
    ("reference", "accepted"),
    [
        *(("hf", True), ({"name": "hf"}, True), ({"name": "hf", "key": "TOKEN", "later": 1}, True)),
        *(({"secretName": "hf"}, False), ({}, False), ({"name": 5}, False), ({"name": "Not A Name"}, False)),
        *(("Not A Name", False), ("", False), (5, False), (0, False), (True, False), ([], False), (["hf"], False)),
    ],
)
async def test_a_reference_to_a_secret_is_checked_by_the_api_server(
    server: ApiServer, reference: object, accepted: bool
) -> None:
    spec = {"model": "acme/tiny", "source": {"huggingface": {"tokenSecretRef": reference}}}
    assert accepted == await _takes(server, "ArksModel", spec)


@pytest.mark.parametrize("field", ["labels", "annotations"])
async def test_keys_of_arks_are_refused_by_the_api_server(server: ApiServer, field: str) -> None:
    for key, accepted in {"team": True, "arks.ai/slots": False}.items():
        spec = {"model": {"name": "m"}, "instanceSpec": {field: {key: "many"}}}
        assert accepted == await _takes(server, "ArksApplication", spec)


async def _takes(server: ApiServer, kind: str, spec: Mapping[str, object]) -> bool:
    """Whether the API server would create it. Only an answer that the object is invalid counts as a refusal."""
    metadata = {"name": "tried", "namespace": "default"}
    made = {"apiVersion": "arks.ai/v1", "kind": kind, "metadata": metadata, "spec": spec}
    try:
        await server.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(made))
    except RuntimeError as error:
        assert "is invalid" in str(error)
        return False
    return True


NEWER = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/period/enum"


@pytest_asyncio.fixture(loop_scope="module")
async def newer_quotas(server: ApiServer) -> AsyncIterator[None]:
    """The definition of a newer version, whose quotas have a period that this version does not know."""
    patch = [{"op": "add", "path": f"{NEWER}/-", "value": "week"}]
    await server.kubectl("patch", "crd", "arksquotas.arks.ai", "--type=json", "-p", json.dumps(patch))
    yield
    patch = [{"op": "remove", "path": f"{NEWER}/3"}]
    await server.kubectl("patch", "crd", "arksquotas.arks.ai", "--type=json", "-p", json.dumps(patch))


def newer_quota(*finalizers: str) -> dict[str, object]:
    made = quota(9)
    made["metadata"] = {"name": "basic", "namespace": "default", "finalizers": [*finalizers]}
    made["spec"] = {"quotas": [{"type": "total", "value": 9}], "period": "week"}
    return made


async def accepted(write: Callable[[Kind, dict[str, object]], Awaitable[object]], made: dict[str, object]) -> object:
    """Write until the API server knows the newer definition, which takes a moment."""
    try:
        return await write(kind_of(ArksQuota), made)
    except Invalid:
        return None


async def accepted_condition(api: KubeApi) -> dict[str, Any] | None:
    stored = await api.get(kind_of(ArksQuota), KEY) or {}
    conditions = stored.get("status", {}).get("conditions", [])
    return next((found for found in conditions if found["type"] == "Accepted"), None)


@pytest.mark.usefixtures("newer_quotas")
async def test_a_resource_of_a_newer_version_keeps_its_last_spec_and_names_the_field(
    api: KubeApi, server: ApiServer
) -> None:
    leading = asyncio.Event()
    leading.set()
    unreadable = UnreadableResources(api, KubeEvents(api, "arks-test", SystemClock()), leading, SystemClock())
    quotas = KubeResources(api, ArksQuota, on_unreadable=unreadable)
    tasks = [asyncio.create_task(run()) for run in (quotas.run, unreadable.run)]
    try:
        await api.create(kind_of(ArksQuota), quota(7))
        await eventually(lambda: quotas.cache.get(KEY))
        await eventually(lambda: accepted(api.apply, newer_quota("a.arks.ai/x")))
        found = await eventually(lambda: accepted_condition(api))
        assert found is not None
        assert ("False", "InvalidSpec", 2) == (found["status"], found["reason"], found["observedGeneration"])
        assert found["message"].startswith("spec.period: must be one of lifetime, day, month, not 'week'")
        options = ("--field-selector=reason=InvalidSpec", "-o", "jsonpath={.items[*].message}")
        assert "spec.period" in await server.kubectl("get", "events", *options)
        known = quotas.cache.get(KEY)
        assert known is not None and 7 == known.spec.quotas[0].value
        await quotas.patch_status(KEY, ArksQuotaStatus(observed_generation=1, reset_generation=3))
        status = (await api.get(kind_of(ArksQuota), KEY) or {})["status"]
        assert (3, ["Accepted"]) == (status["resetGeneration"], [entry["type"] for entry in status["conditions"]])
        await api.delete(kind_of(ArksQuota), KEY)
        await eventually(lambda: (now := quotas.cache.get(KEY)) and now.metadata.deletion_timestamp)
        await quotas.remove_finalizer(KEY, "a.arks.ai/x")
        await eventually(lambda: not quotas.cache.exists(KEY))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _remove(api)


@pytest.mark.usefixtures("newer_quotas")
async def test_the_finalizer_of_a_resource_that_was_never_read_is_removed(api: KubeApi) -> None:
    await eventually(lambda: accepted(api.create, newer_quota("a.arks.ai/x")))
    await api.delete(kind_of(ArksQuota), KEY)
    quotas = KubeResources(api, ArksQuota)
    watching = asyncio.create_task(quotas.run())
    try:
        await eventually(lambda: (found := quotas.cache.unreadable(KEY)) and found.deleting)
        await quotas.remove_finalizer(KEY, "a.arks.ai/x")
        await eventually(lambda: not quotas.cache.exists(KEY))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await _remove(api)


async def _remove(api: KubeApi) -> None:
    if await api.get(kind_of(ArksQuota), KEY):
        await api.merge(kind_of(ArksQuota), KEY, {"metadata": {"finalizers": []}})
        await api.delete(kind_of(ArksQuota), KEY)


async def test_a_secret_is_decoded_and_a_missing_secret_is_none(api: KubeApi, server: ApiServer) -> None:
    await server.kubectl("create", "secret", "generic", "hf-token", "--from-literal=HF_TOKEN=abc")
    secrets = KubeSecrets(api)
    assert {"HF_TOKEN": b"abc"} == await secrets.read(Key("default", "hf-token"))
    assert await secrets.read(Key("default", "absent")) is None
