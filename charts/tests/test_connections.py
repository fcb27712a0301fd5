"""A model of NetworkPolicies, as Kubernetes defines them, on the connections that the programs are configured to make.

The addresses in the programs' environment, and in Envoy's bootstrap, have to be open, and every other way between two
pods has to be closed. The journeys run where the default values' policies are enforced; this covers other values too.
"""

import ipaddress
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

Json = dict[str, Any]
GOLDEN = Path(__file__).parent / "golden"
CASES = ("default", "locked-down", "existing-servers", "one-namespace", "kind-ci")
COMPONENT = "app.kubernetes.io/component"
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
ADDRESS = re.compile(r"(?:@|//|^)arks-(?P<service>[a-z-]+)(?:\.[a-z.-]+)?:(?P<port>\d+)")
BOOTSTRAP = re.compile(r'"address":\s*"arks-(?P<service>[a-z-]+)",\s*"port_value":\s*(?P<port>\d+)')
MADE_BY_ENVOY = {"ARKS_TOKEN_QUOTA_HOST"}
"""endpoint-router writes this address into Envoy's configuration."""

OPEN_TO_ALL = {("metrics", "gateway", 8080), ("app-deployer", "gateway", 8080)}
"""Clients are not limited by default, and these may reach engines anywhere on any port."""


@dataclass(frozen=True)
class Peer:
    """A pod, or an address outside of the cluster."""

    name: str
    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    address: str = "10.1.0.1"
    ports: tuple[int, ...] = field(default=(), compare=False)

    @property
    def is_pod(self) -> bool:
        return bool(self.namespace)


API_SERVER = Peer("the API server", address="10.0.0.10", ports=(6443,))
DNS = Peer("DNS", "kube-system", (("k8s-app", "kube-dns"),), ports=(53,))
ENGINE = Peer("an engine", "team-a", (("arks.ai/application", "chat"),), ports=(8080,))
STRANGER = Peer("a pod of a tenant", "team-c", (("app", "x"),), ports=(80,))


def selects(selector: Json, labels: dict[str, str]) -> bool:
    rules = {
        "In": lambda rule: labels.get(rule["key"]) in rule["values"],
        "NotIn": lambda rule: labels.get(rule["key"]) not in rule["values"],
        "Exists": lambda rule: rule["key"] in labels,
        "DoesNotExist": lambda rule: rule["key"] not in labels,
    }
    by_label = all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())
    return by_label and all(rules[rule["operator"]](rule) for rule in selector.get("matchExpressions", []))


def matches(rule: Json, peer: Peer, policy: Json) -> bool:
    """Whether an entry of `from` or `to` names the peer."""
    if "ipBlock" in rule:
        block = rule["ipBlock"]
        inside = ipaddress.ip_address(peer.address) in ipaddress.ip_network(block["cidr"])
        return inside and not any(
            ipaddress.ip_address(peer.address) in ipaddress.ip_network(out) for out in block.get("except", [])
        )
    if not peer.is_pod:
        return False
    if "namespaceSelector" in rule:
        in_namespace = selects(rule["namespaceSelector"], {NAMESPACE_LABEL: peer.namespace})
    else:
        in_namespace = peer.namespace == policy["metadata"]["namespace"]
    return in_namespace and selects(rule.get("podSelector", {}), dict(peer.labels))


def lets(policies: list[Json], side: str, pod: Peer, other: Peer, port: int) -> bool:
    """Whether `pod` may have this connection. `side`: Ingress or Egress. A pod that no policy selects may have any."""
    ours = [
        policy
        for policy in policies
        if pod.namespace == policy["metadata"]["namespace"]
        and selects(policy["spec"]["podSelector"], dict(pod.labels))
        and side in policy["spec"]["policyTypes"]
    ]
    key = "from" if side == "Ingress" else "to"
    return not ours or any(
        (not rule.get("ports") or any(open_["port"] == port for open_ in rule["ports"]))
        and (not rule.get(key) or any(matches(entry, other, policy) for entry in rule[key]))
        for policy in ours
        for rule in policy["spec"].get(side.lower()) or []
    )


def is_open(policies: list[Json], caller: Peer, callee: Peer, port: int) -> bool:
    sent = not caller.is_pod or lets(policies, "Egress", caller, callee, port)
    return sent and (not callee.is_pod or lets(policies, "Ingress", callee, caller, port))


def release_pods(rendered: Any) -> dict[str, Peer]:
    """Component -> its pod."""
    found = {}
    for kind in ("Deployment", "StatefulSet"):
        for workload in rendered.of(kind):
            template = workload["spec"]["template"]
            spec = template["spec"]
            containers = (*spec.get("initContainers", ()), *spec["containers"])
            ports = tuple(port["containerPort"] for container in containers for port in container.get("ports", ()))
            labels = tuple(template["metadata"]["labels"].items())
            name = template["metadata"]["labels"][COMPONENT]
            found[name] = Peer(name, workload["metadata"]["namespace"], labels, ports=ports)
    return found


def target_port(rendered: Any, service: str, port: int, pods: dict[str, Peer]) -> int:
    """The port of the container behind a Service's port."""
    found = rendered.named("Service", f"arks-{service}")
    target = next(entry["targetPort"] for entry in found["spec"]["ports"] if entry["port"] == port)
    if isinstance(target, int):
        return target
    spec = next(
        workload["spec"]["template"]["spec"]
        for kind in ("Deployment", "StatefulSet")
        for workload in rendered.of(kind)
        if workload["metadata"]["name"] == f"arks-{service}"
    )
    containers = (*spec.get("initContainers", ()), *spec["containers"])
    return next(
        int(entry["containerPort"])
        for container in containers
        for entry in container.get("ports", ())
        if entry["name"] == target
    )


def configured(rendered: Any) -> Iterator[tuple[str, str, int]]:
    """(caller, callee, port of the Service) of what the programs are configured to connect to."""
    for kind in ("Deployment", "StatefulSet"):
        for workload in rendered.of(kind):
            template = workload["spec"]["template"]
            caller = template["metadata"]["labels"][COMPONENT]
            for container in (*template["spec"].get("initContainers", ()), *template["spec"]["containers"]):
                values = {entry["name"]: str(entry.get("value", "")) for entry in container.get("env", ())}
                for name, value in values.items():
                    for match in ADDRESS.finditer(value):
                        yield caller, match["service"], int(match["port"])
                    if name.endswith("_HOST") and value.startswith("arks-"):
                        port = int(values[name.removesuffix("HOST") + "PORT"])
                        yield "gateway" if name in MADE_BY_ENVOY else caller, value.removeprefix("arks-"), port
    for config in rendered.of("ConfigMap"):
        for text in config["data"].values():
            for match in BOOTSTRAP.finditer(text):
                yield "gateway", match["service"], int(match["port"])


@pytest.fixture(params=CASES)
def rendered(request: pytest.FixtureRequest, render: Any, default: Any) -> Any:
    return default if request.param == "default" else render(GOLDEN / f"{request.param}.values.yaml")


def test_configured_connections_are_open_and_all_others_between_pods_are_closed(rendered: Any) -> None:
    policies, pods = rendered.of("NetworkPolicy"), release_pods(rendered)
    made = {
        (caller, callee, target_port(rendered, callee, port, pods)) for caller, callee, port in configured(rendered)
    }
    assert ("gateway", "endpoint-router", 18000) in made
    assert ("gateway", "token-quota", 8090) in made
    found = {
        (caller.name, callee.name, port)
        for caller, callee in itertools.permutations(pods.values(), 2)
        for port in callee.ports
        if is_open(policies, caller, callee, port)
    }
    assert set() == made - found
    assert found - made <= OPEN_TO_ALL


def test_engines_api_server_and_dns_are_reached_by_those_that_need_them(rendered: Any) -> None:
    policies, pods = rendered.of("NetworkPolicy"), release_pods(rendered)

    def reach(callee: Peer) -> set[str]:
        return {name for name, pod in pods.items() if is_open(policies, pod, callee, callee.ports[0])}

    services = {"app-deployer", "endpoint-router", "metrics", "model-manager", "token-quota", "usage-meter"}
    assert {"gateway", "metrics", "app-deployer"} == reach(ENGINE)
    assert services == reach(API_SERVER)
    assert services | {"gateway"} == reach(DNS)


def test_tenants_reach_the_gateway_only_and_engines_nothing_else(rendered: Any) -> None:
    policies, pods = rendered.of("NetworkPolicy"), release_pods(rendered)
    for caller in (ENGINE, STRANGER):
        found = {
            (name, port) for name, pod in pods.items() for port in pod.ports if is_open(policies, caller, pod, port)
        }
        assert found <= {("gateway", 8080)}


def test_the_model_follows_kubernetes() -> None:
    """A pod that no policy selects is open; policies add up; a rule without peers or ports allows all of them."""
    first, two = Peer("first", "a", (("x", "1"),), ports=(80,)), Peer("two", "b", (("x", "2"),), address="10.2.0.1")

    def policy(**rules: Any) -> Json:
        return {"metadata": {"namespace": "a"}, "spec": {"podSelector": {"matchLabels": {"x": "1"}}, **rules}}

    closed = policy(policyTypes=["Ingress"])
    assert is_open([], two, first, 80)
    assert not is_open([closed], two, first, 80)
    assert is_open([closed, policy(policyTypes=["Ingress"], ingress=[{}])], two, first, 80)
    same = policy(policyTypes=["Ingress"], ingress=[{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}])
    assert not is_open([same], two, first, 80)
    block = {"ipBlock": {"cidr": "10.2.0.0/16", "except": ["10.2.0.0/24"]}}
    assert not is_open([policy(policyTypes=["Ingress"], ingress=[{"from": [block]}])], two, first, 80)
    everywhere = {
        "namespaceSelector": {"matchExpressions": [{"key": NAMESPACE_LABEL, "operator": "In", "values": ["b"]}]}
    }
    assert is_open([policy(policyTypes=["Ingress"], ingress=[{"from": [everywhere]}])], two, first, 80)
    assert not is_open([policy(policyTypes=["Egress"])], first, two, 80)
