"""Autoscalers with Kubernetes' own controller of HorizontalPodAutoscalers.

metrics and app-deployer have the rights that the chart grants; LeaderWorkerSet and kubelet are played.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import pytest_asyncio
import yaml
from aiohttp import web
from prometheus_client import CollectorRegistry

from arks.app_deployer import main as app_deployer
from arks.app_deployer.config import Settings as DeployerSettings
from arks.app_deployer.testing.fake_cluster import Cluster as Pods
from arks.contracts.resources import ArksApplication, ArksAutoscaler
from arks.contracts.subjects import Facts, demand_subject
from arks.events.v1.facts_pb2 import ModelFact
from arks.events.v1.load_pb2 import DemandReport
from arks.kit.clock import SystemClock
from arks.kit.home import LocalHome
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.home import KubeHome
from arks.kit.kube.kinds import Kind
from arks.kit.kube.resources import kind_of
from arks.kit.ports import free_port
from arks.kit.testing.kubernetes import pod_autoscaling
from arks.kit.testing.run import running, running_home
from arks.kit.testing.servers import Server, nats_server
from arks.kit.testing.wait import eventually
from arks.metrics import main as metrics
from arks.metrics.adapters.kubernetes.pod_autoscalers import POD_AUTOSCALER
from arks.metrics.config import Settings as MetricsSettings

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]
NAMESPACE, TENANT = "arks-system", "default"
Cluster: TypeAlias = Any  # of conftest.py, which cannot be imported
WITHIN_SECONDS = 90.0
STEP_SECONDS = 30.0
APPLICATION, AUTOSCALER = kind_of(ArksApplication), kind_of(ArksAutoscaler)
PAGE = b"llamacpp:requests_processing 0\nllamacpp:requests_deferred 0\n"


class Skipping(SystemClock):
    """A clock that tests advance, because windows of scaling are minutes."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def advance(self, seconds: float) -> None:
        self._skipped += seconds

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._skipped)

    def monotonic(self) -> float:
        return super().monotonic() + self._skipped


class Scene:
    def __init__(self, cluster: Cluster, nats: Server, directory: Path, engine_port: int) -> None:
        self.server = cluster.server
        self.api = KubeApi("people", CollectorRegistry(), cluster.server.kubeconfig)
        self.clock = Skipping()
        self.metrics_port, self.engine_port = free_port(), engine_port
        self._directory = directory
        self.shared: dict[str, Any] = {
            "nats_url": f"nats://127.0.0.1:{nats.port}",
            "platform": "kubernetes",
            "release_namespace": NAMESPACE,
            "drain_seconds": 1.0,
        }
        self.people = LocalHome("people", MetricsSettings(**self.shared))
        self.models = self.people.fact_writer(Facts.MODELS, ModelFact)
        self.metrics = AsyncExitStack()

    async def start_metrics(self) -> None:
        settings = MetricsSettings(
            **self.shared,
            http_port=free_port(),
            scaling_interval_seconds=0.2,
            horizontal_pod_autoscalers=True,
            external_metrics_port=self.metrics_port,
        )
        home = KubeHome("metrics", settings, kubeconfig=await self.server.kubeconfig_of("arks-metrics", NAMESPACE))
        home.clock = self.clock  # after the election has got the real one
        await self.metrics.enter_async_context(running(metrics.build(settings, home)))

    async def start_deployer(self, stack: AsyncExitStack) -> None:
        profile = {"name": "test", "runtime": "llamacpp", "image": "engine:1", "port": self.engine_port}
        profiles = self._directory / "profiles.yaml"
        profiles.write_text(yaml.safe_dump([{**profile, "commands": {"leader": {"exec": "engine {model}"}}}]))
        settings = DeployerSettings(**self.shared, http_port=free_port(), runtime_profiles=profiles)
        kubeconfig = await self.server.kubeconfig_of("arks-app-deployer", NAMESPACE)
        home = KubeHome("app-deployer", settings, kubeconfig=kubeconfig)
        await stack.enter_async_context(running(app_deployer.build(settings, home)))

    async def lead_to_metrics(self) -> None:
        """No kube-proxy runs, so the API server finds metrics by a name."""
        service = {"spec": {"type": "ExternalName", "externalName": "localhost", "clusterIP": None, "clusterIPs": None}}
        port = {"spec": {"service": {"port": self.metrics_port}}}
        await self._patch("service", "arks-metrics", service, "-n", NAMESPACE)
        await self._patch("apiservice", "v1beta1.external.metrics.k8s.io", port)

    async def _patch(self, kind: str, name: str, patch: dict[str, Any], *where: str) -> None:
        await self.server.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps(patch), *where)

    async def apply(self, kind: str, name: str, version: str = "arks.ai/v1", **spec: Any) -> None:
        made = {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": TENANT}, "spec": spec}
        await self.server.kubectl("apply", "-f", "-", stdin=json.dumps(made))

    async def get(self, kind: Kind, name: str) -> dict[str, Any]:
        return await self.api.get(kind, Key(TENANT, name)) or {}

    async def replicas(self) -> tuple[int, int]:
        """Of the application: desired and ready."""
        found = await self.get(APPLICATION, "app")
        return found["spec"]["replicas"], found.get("status", {}).get("readyReplicas", 0)

    async def condition(self, kind: Kind, type_: str) -> tuple[str, str]:
        """Status and reason, of the object "chat"."""
        conditions = (await self.get(kind, "chat")).get("status", {}).get("conditions", [])
        found = next((item for item in conditions if item["type"] == type_), {"status": "", "reason": ""})
        return found["status"], found["reason"]

    async def under_load(self, holds: Callable[[], Awaitable[bool]], *, tokens_per_second: float, what: str) -> None:
        """Report that load, as gateways do, until it holds."""
        refused = round(tokens_per_second * STEP_SECONDS)

        async def step() -> bool:
            report = DemandReport(namespace=TENANT, endpoint="app-model", refused=refused)
            if refused:
                await self.people.bus.publish(demand_subject(TENANT, "app-model"), report.SerializeToString())
            self.clock.advance(STEP_SECONDS)
            return await holds()

        await eventually(step, within_seconds=WITHIN_SECONDS, every_seconds=0.3, what=what)


async def _engine(stack: AsyncExitStack, port: int) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(body=PAGE, content_type="text/plain")

    application = web.Application()
    application.router.add_get("/metrics", page)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", port).start()


@pytest_asyncio.fixture(loop_scope="session")
async def scene(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        nats = await stack.enter_async_context(nats_server(tmp_path / "nats"))
        await stack.enter_async_context(
            cluster.installed("arks", NAMESPACE, "--set", "horizontalPodAutoscalers.enabled=true")
        )
        scene = Scene(cluster, nats, tmp_path, free_port())
        await _engine(stack, scene.engine_port)
        await stack.enter_async_context(pod_autoscaling(cluster.server))
        await scene.lead_to_metrics()
        await scene.api.start()
        stack.push_async_callback(scene.api.stop)
        pods = Pods(scene.api, "127.0.0.1")
        await pods.start()
        stack.push_async_callback(pods.close)
        await stack.enter_async_context(running_home(scene.people))
        await scene.start_deployer(stack)
        stack.push_async_callback(scene.metrics.aclose)
        await scene.start_metrics()
        yield scene


async def test_a_horizontal_pod_autoscaler_scales_to_the_wanted_number(scene: Scene) -> None:
    scene.models.put(
        Key(TENANT, "m"),
        ModelFact(namespace=TENANT, name="m", ready=True, claim_name="weights", path="/models/models/default/m"),
    )
    served: dict[str, Any] = {"runtime": "llamacpp", "servedModelName": "app-model", "instanceSpec": {}}
    await scene.apply("ArksApplication", "app", model={"name": "m"}, replicas=1, **served)
    spec: dict[str, Any] = {
        "target": {"name": "app"},
        "objectives": {"tokensPerSecond": 10},
        "scaleDown": {"windowSeconds": 60},
    }
    await scene.apply("ArksAutoscaler", "chat", **spec, maxReplicas=3)

    def replicas(number: int) -> Callable[[], Awaitable[bool]]:
        async def reached() -> bool:
            return await scene.replicas() == (number, number)

        return reached

    def limited(reason: str) -> Callable[[], Awaitable[bool]]:
        async def holds() -> bool:
            return await scene.condition(AUTOSCALER, "Limited") == ("True", reason)

        return holds

    await eventually(replicas(1), within_seconds=WITHIN_SECONDS, what="one replica")
    await scene.under_load(replicas(3), tokens_per_second=90, what="three replicas")
    await scene.under_load(limited("AtMaximum"), tokens_per_second=90, what="the maximum in the status")

    await scene.metrics.aclose()  # the metrics API is down

    async def without_metrics() -> bool:
        active = await scene.condition(POD_AUTOSCALER, "ScalingActive")
        return active == ("False", "FailedGetExternalMetric")

    await eventually(without_metrics, within_seconds=WITHIN_SECONDS, what="the controller gets no metric")
    assert (3, 3) == await scene.replicas()
    await scene.start_metrics()
    await scene.under_load(replicas(1), tokens_per_second=0, what="one replica again")

    await scene.apply("ResourceQuota", "small", version="v1", hard={"pods": "2"})
    await scene.under_load(limited("FailedCreate"), tokens_per_second=25, what="the quota in the status")
    message = [item["message"] for item in (await scene.get(AUTOSCALER, "chat"))["status"]["conditions"]]
    assert any("exceeded quota: small" in text for text in message)
    assert (3, 2) == await scene.replicas()

    await scene.apply("ArksAutoscaler", "chat", **spec, maxReplicas=3, minReplicas=0, idleSeconds=1)
    await scene.under_load(replicas(0), tokens_per_second=0, what="no replica")
    await scene.under_load(replicas(1), tokens_per_second=1, what="a replica for a request")
    await scene.server.kubectl("delete", "arksautoscaler", "chat", "-n", TENANT)

    async def deleted() -> bool:
        return not await scene.get(POD_AUTOSCALER, "chat")

    await eventually(deleted, within_seconds=WITHIN_SECONDS, what="no HorizontalPodAutoscaler")
    await scene.server.kubectl("delete", "resourcequota", "small", "-n", TENANT)
    await scene.server.kubectl("delete", "arksapplication", "app", "-n", TENANT, "--timeout=90s")
