"""The cluster enforces NetworkPolicies: each connection that a release needs is open, and every other one is closed."""

import json

import pytest

from arks.kit.testing.wait import eventually
from e2e.kubernetes.conftest import HUB
from e2e.support.cluster import Cluster, KubectlError
from e2e.support.tenant import SYSTEM, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
COMPONENT = "app.kubernetes.io/component"
SERVICES = ("app-deployer", "endpoint-router", "metrics", "model-manager", "token-quota", "usage-meter")
STORES = (("redis", 6379), ("postgresql", 5432))
NATS_MONITORING = 8222
ENGINE = "engine"
OPEN = (
    {(service, "nats", 4222) for service in (*SERVICES, "gateway")}
    | {("gateway", "endpoint-router", 18000), ("gateway", "token-quota", 8090)}
    | {(program, *store) for program in ("token-quota", "usage-meter") for store in STORES}
    | {("model-manager", "node-cache", 8095)}
    | {(caller, ENGINE, 8080) for caller in ("gateway", "metrics", "app-deployer")}
    | {(ENGINE, "hub", HUB[1])}
    # The API server has no address that a policy could name: the port requires its certificate
    | {(caller, "metrics", 6443) for caller in (ENGINE, "gateway", *SERVICES) if caller != "metrics"}
    # Clients are not limited by default, and these may reach engines anywhere on any port
    | {(caller, "gateway", 8080) for caller in (ENGINE, "metrics", "app-deployer")}
)
"""(caller, callee, port)."""
CONNECT = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def connects(address):
    try:
        socket.create_connection(tuple(address), timeout=2).close()
    except OSError:
        return False
    return True

with ThreadPoolExecutor(64) as pool:
    print(json.dumps(list(pool.map(connects, json.loads(sys.argv[1])))))
"""
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": ENGINE, "labels": {"arks.ai/application": ENGINE}},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                "name": "main",
                "image": "arks/metrics:dev",
                "imagePullPolicy": "Never",
                "command": ["python", "-m", "http.server", "8080"],
                "ports": [{"containerPort": 8080}],
            }
        ],
    },
}
"""A tenant's pod that listens like an engine. No policy selects it."""


async def listening(release: Cluster, tenant: Tenant) -> dict[tuple[str, int], list[str]]:
    """(component, port) -> address of one of its pods; the hub is outside of the cluster."""
    pods = [*await release.all("pods", COMPONENT), *await tenant.all("pods")]
    host, port = HUB
    found = {("hub", port): [host], ("nats", NATS_MONITORING): []}
    for pod in pods:
        if pod["status"]["phase"] != "Running" or "deletionTimestamp" in pod["metadata"]:
            continue
        name = pod["metadata"]["labels"].get(COMPONENT, ENGINE)
        containers = (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
        ports = {port["containerPort"] for container in containers for port in container.get("ports", ())}
        if name == "nats":
            ports.add(NATS_MONITORING)
        for number in ports:
            found[name, number] = [pod["status"]["podIP"]]
    return found


async def reached(caller: str, callees: dict[tuple[str, int], list[str]], within: Cluster) -> set[tuple[str, str, int]]:
    """The connections that a pod of the caller can open to other components."""
    others = {key: addresses for key, addresses in callees.items() if key[0] != caller}
    addresses = [(address[0], port) for (_, port), address in others.items()]
    pod = {ENGINE: (ENGINE,), "gateway": ("deployment/arks-gateway", "-c", "usage-shipper")}
    target = pod.get(caller, (f"deployment/arks-{caller}",))
    printed = await within.kubectl("exec", *target, "--", "python", "-c", CONNECT, json.dumps(addresses))
    return {(caller, *key) for key, connected in zip(others, json.loads(printed), strict=True) if connected}


async def test_only_the_connections_of_a_release_are_open(cluster: Cluster, tenant: Tenant) -> None:
    release = cluster.within(SYSTEM)
    await tenant.apply(POD)
    await tenant.kubectl("wait", "--for=condition=Ready", f"pod/{ENGINE}", "--timeout=60s")
    found: set[tuple[str, str, int]] = set()

    async def as_expected() -> bool:
        """Policies are in force some moments after a pod starts."""
        nonlocal found
        try:
            callees = await listening(release, tenant)
            found = await reached(ENGINE, callees, tenant)
            for caller in (*SERVICES, "gateway"):
                found |= await reached(caller, callees, release)
        except KubectlError:
            return False  # a pod was replaced meanwhile
        return found == OPEN

    try:
        await eventually(as_expected, within_seconds=120, every_seconds=3.0)
    except AssertionError:
        assert found == OPEN
        raise
