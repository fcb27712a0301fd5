"""The whole service as a program, on a real API server and NATS, with LeaderWorkerSet and kubelet played."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from prometheus_client import CollectorRegistry

from arks.app_deployer.config import Settings
from arks.app_deployer.testing.fake_cluster import Cluster
from arks.contracts.subjects import Facts
from arks.events.v1 import facts_pb2
from arks.events.v1.facts_pb2 import ModelFact, ReplicasFact, ScalingFact
from arks.kit.home import LocalHome
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.process import end, spawn
from arks.kit.testing.kubernetes import ApiServer, api_server, kube_binaries
from arks.kit.testing.run import running_home
from arks.kit.testing.servers import Server
from arks.kit.testing.wait import eventually
from arks.kit.types import Json

pytestmark = [pytest.mark.kube, pytest.mark.timeout(300)]
KEY, MODEL = Key("default", "app-qwen"), Key("default", "qwen-7b")
_CRDS = Path(__file__).parents[3] / "charts/arks-crds/templates"
_RENDERED = Path(__file__).parents[3] / "charts/tests/golden/default.yaml"
_NAMESPACE = "arks-system"
_ACCOUNT = "arks-app-deployer"
_LWS = "lws-chart/templates/crds/leaderworkerset.x-k8s.io_leaderworkersets.yaml"


class MainHarness:
    def __init__(self, server: ApiServer, nats: Server, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.settings = Settings(nats_url=f"nats://127.0.0.1:{nats.port}", state_dir=directory)
        self.api = KubeApi("people", CollectorRegistry(), server.kubeconfig)
        self.cluster = Cluster(self.api)
        self.people = LocalHome("people", self.settings)
        self.facts = self.people.facts(Facts.REPLICAS, ReplicasFact).cache
        self.models = self.people.fact_writer(Facts.MODELS, ModelFact)
        self.scaling = self.people.fact_writer(Facts.SCALING, ScalingFact)
        self._neighbours = AsyncExitStack()
        self._process: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        await self.api.start()
        await self._neighbours.enter_async_context(running_home(self.people))
        await self.cluster.start()
        await self.start()

    async def start(self) -> None:
        environment = os.environ | {
            "KUBECONFIG": str(await self.server.kubeconfig_of(_ACCOUNT, _NAMESPACE)),
            "ARKS_RELEASE_NAMESPACE": _NAMESPACE,
            "ARKS_PLATFORM": "kubernetes",
            "ARKS_NATS_URL": self.settings.nats_url,
            "HOSTNAME": "app-deployer-0",
        }
        command = [sys.executable, "-m", "arks.app_deployer.main"]
        self._process = await spawn(command, log_file=self.directory / "app-deployer.log", environment=environment)

    async def stop(self) -> None:
        if self._process is not None:
            await end(self._process, grace_seconds=10.0)

    async def close(self) -> None:
        await self.stop()
        await self.cluster.close()
        await self._neighbours.aclose()
        await self.api.stop()

    def model(self) -> None:
        fact = ModelFact(namespace=MODEL.namespace, name=MODEL.name, ready=True, claim_name="weights")
        fact.path = "/models/models/default/qwen-7b"
        self.models.put(MODEL, fact)

    async def apply(self, kind: str, name: str, **spec: Any) -> None:
        manifest = {"apiVersion": "arks.ai/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        await self.server.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    async def status(self, kind: str = "arksapplication", name: str = KEY.name) -> Json:
        found: Json = json.loads(await self.server.kubectl("get", kind, name, "-o", "json"))
        status: Json = found.get("status", {})
        return status

    async def shown(self) -> list[str]:
        """Phase, replicas and ready, as `kubectl get` prints them."""
        line = (await self.server.kubectl("get", "arksapplication", KEY.name, "--no-headers")).split()
        return line[1:4]

    async def until_shown(self, *columns: str) -> None:
        async def same() -> bool:
            return await self.shown() == list(columns)

        await eventually(same, within_seconds=90, what=f"kubectl get shows {columns}")

    async def names(self, kinds: str) -> list[str]:
        return (await self.server.kubectl("get", kinds, "-l", "arks.ai/application", "-o", "name")).split()


async def _grant_as_the_chart_does(server: ApiServer) -> None:
    await server.kubectl("create", "namespace", _NAMESPACE)
    kinds = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    rendered = [item for item in yaml.safe_load_all(_RENDERED.read_text()) if item and item["kind"] in kinds]
    ours = [
        item
        for item in rendered
        if item["metadata"].get("labels", {}).get("app.kubernetes.io/component") == "app-deployer"
    ]
    await server.kubectl("apply", "-n", _NAMESPACE, "-f", "-", stdin=yaml.safe_dump_all(ours))


async def _served(server: ApiServer) -> bool:
    try:
        await server.kubectl("get", "leaderworkersets,arksapplications,arksdisaggregatedapplications")
    except RuntimeError:
        return False
    return True


@pytest_asyncio.fixture
async def harness(nats: Server, tmp_path: Path) -> AsyncIterator[MainHarness]:
    async with api_server(tmp_path / "kube") as server:
        definition = yaml.safe_load((kube_binaries() / _LWS).read_text())
        del definition["spec"]["conversion"]  # by the controller, which is played here
        await server.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(definition))
        await server.kubectl("apply", "--server-side", "-f", str(_CRDS))
        await eventually(lambda: _served(server), within_seconds=90, what="kinds served")
        await _grant_as_the_chart_does(server)
        harness = MainHarness(server, nats, tmp_path)
        await harness.open()
        yield harness
        await harness.close()


async def test_an_application_from_kubectl_apply_to_kubectl_delete(harness: MainHarness) -> None:
    spec = {"model": {"name": MODEL.name}, "runtime": "vllm", "replicas": 1, "instanceSpec": {}}
    await harness.apply("ArksApplication", KEY.name, **spec, runtimeCommonArgs=["--max-num-seqs", "64"])
    await harness.until_shown("Failed", "0", "0")  # there is no such model
    harness.model()
    await harness.until_shown("Running", "1", "1")
    assert ["app-qwen-0"] == harness.cluster.pods()
    status = await harness.status()
    reasons = [item["reason"] for item in status["conditions"]]
    assert ["PrecheckPass", "ModelLoadSucceeded", "Running", "Complete"] == reasons
    assert {"seconds", "prepareSeconds", "imageSeconds", "loadSeconds"} == set(status["instances"][0]["start"])
    ready = [("app-qwen-0", 8080, facts_pb2.REPLICA_STATE_READY, 64)]

    def reported() -> bool:
        fact = harness.facts.get(KEY)
        return fact is not None and ready == [(item.name, item.port, item.state, item.slots) for item in fact.replicas]

    await eventually(reported, what="the replica in the fact")

    await harness.server.kubectl("scale", "arksapplication", KEY.name, "--replicas=3")
    await harness.until_shown("Running", "3", "3")
    await harness.stop()
    await harness.start()
    await harness.server.kubectl("scale", "arksapplication", KEY.name, "--replicas=1")
    await harness.until_shown("Running", "1", "1")
    await harness.server.kubectl("delete", "service", f"arks-application-{KEY.name}")

    async def events_written() -> bool:
        events = await harness.server.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}")
        return {"ModelNotExist", "Running", "Scaled", "Repaired"} == set(events.split())

    await eventually(events_written, what="the Events")
    await harness.server.kubectl("delete", "arksapplication", KEY.name, "--timeout=90s")
    assert [] == await harness.names("leaderworkersets,services")
    await eventually(lambda: harness.facts.get(KEY) is None, what="the fact gone")


async def test_prefill_and_decode_report_what_they_lack_and_follow_their_autoscalers(harness: MainHarness) -> None:
    parts: dict[str, Any] = {"router": {"int32": 9000}, "prefill": {}, "decode": {}}
    await harness.apply("ArksDisaggregatedApplication", "pd", model={"name": MODEL.name}, **parts)
    harness.model()

    async def engines_ready() -> bool:
        status = await harness.status("arksdisaggregatedapplication", "pd")
        return [status.get(part, {}).get("readyReplicas") for part in ("prefill", "decode")] == [1, 1]

    await eventually(engines_ready, within_seconds=90, what="engines of both stages")
    status = await harness.status("arksdisaggregatedapplication", "pd")
    assert "Creating" == status["phase"]  # no controller runs Deployments here, so no router comes
    assert "not every part serves: router 0 of 1, prefill 1 of 1, decode 1 of 1" == status["conditions"][2]["message"]
    assert {"deployment.apps/pd-router", "service/arks-application-pd"} <= set(
        await harness.names("deployments,services")
    )
    wanted = ScalingFact(namespace="default", application="pd", stage="decode", replicas=2)
    harness.scaling.put(Key("default", "pd-decode"), wanted)

    def engines() -> bool:
        fact = harness.facts.get(Key("default", "pd"))
        stages = {} if fact is None else {stage.name: stage for stage in fact.stages}
        ready = {
            name: [bool(engine.host and engine.port) for engine in stage.replicas] for name, stage in stages.items()
        }
        return ready == {"prefill": [True], "decode": [True, True]} and stages["decode"].desired == 2

    await eventually(engines, within_seconds=90, what="two engines of decode in the fact")
    await harness.server.kubectl("delete", "arksdisaggregatedapplication", "pd", "--timeout=90s")
    assert [] == await harness.names("leaderworkersets,services,deployments")
