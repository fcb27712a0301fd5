"""Owner checks against a real API server: what it does with uid, resourceVersion and managed fields."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from arks.kit.errors import Conflict
from arks.kit.key import Key
from arks.kit.kube import ownership
from arks.kit.kube.api import KubeApi, key_of_object
from arks.kit.kube.kinds import Kind
from arks.kit.kube.managed_fields import LostField, fields_of_others, lost_fields, our_fields
from arks.kit.kube.ownership import NameConflict
from arks.kit.testing.kubernetes import ApiServer, api_server
from arks.kit.types import Json

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
SERVICE = Kind("", "v1", "Service", "services")
JOB = Kind("batch", "v1", "Job", "jobs")
US = "arks-test"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServer]:
    async with api_server(tmp_path_factory.mktemp("kube")) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def api(server: ApiServer) -> AsyncIterator[KubeApi]:
    api = KubeApi(US, CollectorRegistry(), server.kubeconfig)
    await api.start()
    yield api
    for kind, name in ((DEPLOYMENT, "d"), (SERVICE, "s")):
        await api.delete(kind, Key("default", name))
    await api.stop()


def owner(uid: str = "u1", name: str = "app") -> Json:
    return {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "name": name, "uid": uid, "controller": True}


def service(*owners: Json, **spec: Any) -> Json:
    metadata: Json = {"name": "s", "namespace": "default"} | ({"ownerReferences": list(owners)} if owners else {})
    fields = {"selector": {"app": "x"}, "ports": [{"name": "http", "port": 80, "targetPort": 80}]} | spec
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": fields}


def deployment(*env: str, replicas: int = 1) -> Json:
    container: Json = {"name": "main", "image": "x", "env": [{"name": name, "value": "1"} for name in env]}
    container["resources"] = {"requests": {"cpu": "0.5"}}
    labels = {"app": "x"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "default", "ownerReferences": [owner()]},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


async def put(api: KubeApi, kind: Kind, desired: Json) -> Json:
    return await ownership.write(api, kind, desired, await ownership.find(api, kind, desired))


def lost(desired: Json, obj: Json) -> tuple[LostField, ...]:
    return lost_fields(desired, our_fields(obj, US), fields_of_others(obj, US))


@pytest.mark.parametrize(
    ("other", "whose"),
    [([], "has no owner"), ([owner(name="b")], "ArksApplication b"), ([owner() | {"kind": "X"}], "belongs to X app")],
)
async def test_an_object_of_another_owner_is_never_changed(api: KubeApi, other: list[Json], whose: str) -> None:
    before = await api.create(SERVICE, service(*other, selector={"app": "theirs"}))
    with pytest.raises(NameConflict, match=rf"Service s exists and .*{whose}.*give ArksApplication app another name"):
        await put(api, SERVICE, service(owner()))
    with pytest.raises(Conflict):  # as if it had been created after the look
        await ownership.write(api, SERVICE, service(owner()), None)
    assert before == await api.get(SERVICE, Key("default", "s"))


async def test_an_object_of_an_earlier_resource_of_the_name_is_taken_over(api: KubeApi) -> None:
    await put(api, SERVICE, service(owner("u1")))
    after = await put(api, SERVICE, service(owner("u2")))
    assert ["u2"] == [reference["uid"] for reference in after["metadata"]["ownerReferences"]]


async def test_an_object_that_was_replaced_after_the_look_is_not_changed(api: KubeApi) -> None:
    found = await put(api, SERVICE, service(owner()))
    await api.delete(SERVICE, key_of_object(found))
    with pytest.raises(Conflict):
        await ownership.write(api, SERVICE, service(owner()), found)
    assert await api.get(SERVICE, key_of_object(found)) is None
    theirs = await api.create(SERVICE, service(selector={"app": "theirs"}))
    with pytest.raises(Conflict):
        await ownership.write(api, SERVICE, service(owner()), found)
    with pytest.raises(Conflict):
        await api.delete(SERVICE, key_of_object(found), uid=found["metadata"]["uid"])
    assert theirs == await api.get(SERVICE, key_of_object(found))
    assert await api.delete(SERVICE, key_of_object(found), uid=theirs["metadata"]["uid"])


async def test_a_field_of_the_creation_goes_when_it_is_no_longer_desired(api: KubeApi) -> None:
    await put(api, DEPLOYMENT, deployment("A", "B"))
    after = await put(api, DEPLOYMENT, deployment("A"))
    assert ["A"] == [item["name"] for item in after["spec"]["template"]["spec"]["containers"][0]["env"]]


async def test_an_object_as_it_was_written_has_lost_nothing(api: KubeApi) -> None:
    created = await put(api, DEPLOYMENT, deployment("A"))
    assert () == lost(deployment("A"), created)
    again = await put(api, DEPLOYMENT, deployment("A"))
    assert () == lost(deployment("A"), again)
    assert created["metadata"]["generation"] == again["metadata"]["generation"]


async def test_what_kubectl_changes_is_lost_until_it_is_set_back(api: KubeApi, server: ApiServer) -> None:
    await put(api, DEPLOYMENT, deployment("A"))
    await server.kubectl("set", "image", "deployment/d", "main=y")
    await server.kubectl("set", "env", "deployment/d", "MORE=1")
    await server.kubectl("scale", "deployment", "d", "--replicas=0")
    found = await ownership.find(api, DEPLOYMENT, deployment("A"))
    assert found is not None
    writers = {field.path: field.writer for field in lost(deployment("A"), found)}
    assert {"spec.replicas": "", "spec.template.spec.containers[main].image": "kubectl-set"} == writers
    after = await ownership.write(api, DEPLOYMENT, deployment("A"), found)
    assert () == lost(deployment("A"), after)
    container = after["spec"]["template"]["spec"]["containers"][0]
    assert (1, "x", ["A", "MORE"]) == (
        after["spec"]["replicas"],
        container["image"],
        [item["name"] for item in container["env"]],
    )


async def test_a_selector_with_one_more_label_is_lost(api: KubeApi, server: ApiServer) -> None:
    await put(api, SERVICE, service(owner()))
    await server.kubectl("patch", "service", "s", "--type=merge", "-p", '{"spec":{"selector":{"more":"1"}}}')
    found = await ownership.find(api, SERVICE, service(owner()))
    assert found is not None
    assert (LostField("spec.selector", "kubectl-patch"),) == lost(service(owner()), found)
    after = await ownership.write(api, SERVICE, service(owner()), found)
    assert {"app": "x"} == after["spec"]["selector"]


async def test_a_checked_deletion_deletes_what_the_object_owns(api: KubeApi, server: ApiServer) -> None:
    """The default of a Job is to leave its pods behind."""
    job: Json = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "default"}}
    job["spec"] = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}}
    created = await api.create(JOB, job)
    await server.kubectl("patch", "job", "j", "-p", '{"metadata":{"finalizers":["arks.ai/test"]}}', "--type=merge")
    assert await api.delete(JOB, Key("default", "j"), uid=created["metadata"]["uid"])
    found = await api.get(JOB, Key("default", "j"))
    assert found is not None and ["arks.ai/test"] == found["metadata"]["finalizers"]
    await server.kubectl("patch", "job", "j", "-p", '{"metadata":{"finalizers":null}}', "--type=merge")
