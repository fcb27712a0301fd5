"""Objects that LeaderWorkerSet's controller makes for a set, on a real API server."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from arks.app_deployer.adapters.kubernetes.children import SERVICE
from arks.app_deployer.adapters.kubernetes.set_names import STATEFUL_SET, SetNames
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import Kind
from arks.kit.kube.ownership import NameConflict
from arks.kit.testing.kubernetes import api_server
from arks.kit.types import Json

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
SET = {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "name": "a", "uid": "2"}
POD = {"apiVersion": "v1", "kind": "Pod", "name": "a-0", "uid": "3"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KubeApi]:
    async with api_server(tmp_path_factory.mktemp("kube")) as server:
        api = KubeApi("arks-test", CollectorRegistry(), server.kubeconfig)
        await api.start()
        yield api
        await api.stop()


def desired(size: int) -> Json:
    owner = {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "name": "a", "uid": "1", "controller": True}
    metadata = {"name": "a", "namespace": "default", "ownerReferences": [owner]}
    return {"metadata": metadata, "spec": {"leaderWorkerTemplate": {"size": size}}}


def existing(kind: Kind, name: str, owner: Json | None) -> Json:
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    spec: Json = {"selector": {"matchLabels": labels}, "template": template, "serviceName": name}
    if kind is SERVICE:
        spec = {"selector": labels, "ports": [{"port": 80}]}
    metadata: Json = {"name": name, "namespace": "default"}
    if owner is not None:
        metadata["ownerReferences"] = [owner | {"controller": True}]
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    ("kind", "name", "owner", "conflicts"),
    [
        (STATEFUL_SET, "a", None, (True, True)),
        (STATEFUL_SET, "a", SET, (False, False)),
        (STATEFUL_SET, "a-0", POD, (False, False)),
        (STATEFUL_SET, "a-0", SET | {"name": "a-0"}, (False, True)),
        (STATEFUL_SET, "a-b", None, (False, False)),
        (SERVICE, "a", None, (False, True)),
        (SERVICE, "a", SET, (False, False)),
    ],
)
async def test_a_set_conflicts_with_what_its_controller_would_take_over(
    api: KubeApi, kind: Kind, name: str, owner: Json | None, conflicts: tuple[bool, bool]
) -> None:
    await api.create(kind, existing(kind, name, owner))
    found = []
    for size in (1, 2):
        try:
            await SetNames(api).check(desired(size))
            found.append(False)
        except NameConflict as error:
            assert f"{kind.kind} {name} exists" in str(error)
            assert "give ArksApplication a another name" in str(error)
            found.append(True)
    await api.delete(kind, Key("default", name))
    assert conflicts == tuple(found)
