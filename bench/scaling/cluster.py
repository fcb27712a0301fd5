"""Measures what idle autoscalers with HorizontalPodAutoscalers cost metrics, with a real API server and controller.

usage: python -m bench.scaling.cluster [--number 1000] [--seconds 40]

etcd, kube-apiserver, Kubernetes' controller of HorizontalPodAutoscalers with its interval of 15 s, NATS, and metrics as
a process with the rights of the chart. Applications are resources and facts only: their pages would cost more than
their autoscalers. `bench.scaling.cost` has decisions about busy ones.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry

from arks.contracts.subjects import Facts, fact_key
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.bus import to_json
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import Kind
from arks.kit.ports import free_port
from arks.kit.process import end, spawn
from arks.kit.testing.helm import helm
from arks.kit.testing.kubernetes import ApiServer, api_server, kube_binaries
from arks.kit.testing.servers import Server, nats_server, serve
from arks.kit.testing.wait import eventually
from arks.metrics.adapters.kubernetes.pod_autoscalers import POD_AUTOSCALER
from bench.gateway.resources import NAMESPACE, connected
from bench.process_cost import cpu_seconds, resident_megabytes

CHARTS = Path(__file__).parents[2] / "charts"
SYSTEM = "arks-system"
API_SERVICE = "v1beta1.external.metrics.k8s.io"
APPLICATION = Kind("arks.ai", "v1", "ArksApplication", "arksapplications")
AUTOSCALER = Kind("arks.ai", "v1", "ArksAutoscaler", "arksautoscalers")
_RIGHTS = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "APIService"}
BASE_SECONDS, SETTLE_SECONDS, ROUNDS = 20.0, 30.0, 2


@dataclass(frozen=True)
class Used:
    cores: float
    megabytes: float


async def used(server: Server, seconds: float) -> Used:
    pid = server.process.pid
    before, began = cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(seconds)
    return Used((cpu_seconds(pid) - before) / (time.monotonic() - began), resident_megabytes(pid))


async def install(server: ApiServer, port: int) -> None:
    """What the chart installs for metrics, whose API is at this port of loopback."""
    for definition in sorted((CHARTS / "arks-crds/templates").glob("*.yaml")):
        await server.kubectl("apply", "--server-side", "-f", str(definition))
    await server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    await server.kubectl("create", "namespace", SYSTEM)
    options = ("--set", "horizontalPodAutoscalers.enabled=true", "--set", "secrets.existingSecret=unused")
    rendered = yaml.safe_load_all(helm("template", "arks", str(CHARTS / "arks"), "-n", SYSTEM, *options))
    objects = [found for found in rendered if found and found["kind"] in _RIGHTS]
    for found in objects:
        if found["kind"] in {"ServiceAccount", "Role", "RoleBinding"}:
            found["metadata"].setdefault("namespace", SYSTEM)
    await server.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
    service = {"type": "ExternalName", "externalName": "localhost"}
    manifest = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "arks-metrics"}, "spec": service}
    await server.kubectl("apply", "-n", SYSTEM, "-f", "-", stdin=json.dumps(manifest))
    patch = json.dumps({"spec": {"service": {"port": port}}})
    await server.kubectl("patch", "apiservice", API_SERVICE, "--type=merge", "-p", patch)


@asynccontextmanager
async def metrics(directory: Path, server: ApiServer, nats: Server, port: int) -> AsyncIterator[Server]:
    own, http = directory / "metrics", free_port()
    own.mkdir()
    settings = {
        "PLATFORM": "kubernetes",
        "RELEASE_NAMESPACE": SYSTEM,
        "NATS_URL": f"nats://127.0.0.1:{nats.port}",
        "HTTP_PORT": http,
        "STATE_DIR": own,
        "LOG_LEVEL": "warning",
        "HORIZONTAL_POD_AUTOSCALERS": "true",
        "EXTERNAL_METRICS_PORT": port,
        "EXTERNAL_METRICS_SERVICE": "arks-metrics",
    }
    kubeconfig = await server.kubeconfig_of("arks-metrics", SYSTEM)
    environment = [f"KUBECONFIG={kubeconfig}", "HOSTNAME=metrics-0", *(f"ARKS_{k}={v}" for k, v in settings.items())]
    line = ["env", *environment, sys.executable, "-OO", "-m", "arks.metrics.main"]
    async with serve(line, http, own) as process:
        yield process


async def create(api: KubeApi, number: int) -> None:
    for index in range(number):
        name = f"app-{index}"
        metadata = {"name": name, "namespace": NAMESPACE}
        spec = {"model": {"name": "m"}, "replicas": 1, "instanceSpec": {}}
        common = {"apiVersion": "arks.ai/v1", "metadata": metadata}
        await api.create(APPLICATION, {**common, "kind": APPLICATION.kind, "spec": spec})
        status = {"status": {"replicas": 1, "readyReplicas": 1, "selector": "arks.ai/application=none"}}
        await api.merge(APPLICATION, Key(NAMESPACE, name), status, subresource="status")
        scaled = {"target": {"name": name}, "maxReplicas": 5, "objectives": {"slotUsePercent": 80}}
        await api.create(AUTOSCALER, {**common, "kind": AUTOSCALER.kind, "spec": scaled})


async def active(api: KubeApi) -> int:
    """HorizontalPodAutoscalers that get their metric."""
    found, _ = await api.list(POD_AUTOSCALER, None)
    conditions = [each.get("status", {}).get("conditions") or [] for each in found]
    return sum(
        any(item["type"] == "ScalingActive" and item["status"] == "True" for item in each) for each in conditions
    )


async def main(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with AsyncExitStack() as stack:
            enter, port = stack.enter_async_context, free_port()
            server = await enter(api_server(directory / "kube"))
            await install(server, port)
            nats = await enter(nats_server(directory / "nats"))
            bucket = await (await enter(connected(nats.port))).bucket(Facts.REPLICAS.value)
            for index in range(options.number):
                fact = ReplicasFact(namespace=NAMESPACE, application=f"app-{index}", runtime="vllm", desired=1)
                await bucket.put(fact_key(NAMESPACE, fact.application), to_json(fact))
            process = await enter(metrics(directory, server, nats, port))
            await asyncio.sleep(SETTLE_SECONDS / 3)
            base = await used(process, BASE_SECONDS)
            api = KubeApi("bench", CollectorRegistry(), server.kubeconfig)
            await api.start()
            stack.push_async_callback(api.stop)
            await create(api, options.number)
            command = [
                *(str(kube_binaries() / "kube-controller-manager"), f"--kubeconfig={server.kubeconfig}"),
                *("--controllers=horizontal-pod-autoscaler-controller", "--leader-elect=false", "--secure-port=0"),
            ]
            controller = await spawn(command, log_file=directory / "controller.log")
            stack.push_async_callback(end, controller, grace_seconds=3.0)

            async def all_active() -> bool:
                return bool(await active(api) >= options.number)

            await eventually(all_active, within_seconds=300, every_seconds=3.0, what="HorizontalPodAutoscalers active")
            await asyncio.sleep(SETTLE_SECONDS)
            print(f"metrics without autoscalers: {base.cores:.2%} of a core, {base.megabytes:.0f} MB")
            for _ in range(ROUNDS):
                now = await used(process, options.seconds)
                more = f"{now.cores - base.cores:.2%} of a core and {now.megabytes - base.megabytes:.0f} MB more"
                print(f"with {options.number}: {more}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m bench.scaling.cluster", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--number", type=int, default=1000, help="autoscalers (default 1000)")
    parser.add_argument("--seconds", type=float, default=40.0, help="of each of two rounds (default 40)")
    asyncio.run(main(parser.parse_args()))
