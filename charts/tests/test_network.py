"""Every connection inside the release is open at both ends, and no other is."""

from typing import Any

import pytest

Json = dict[str, Any]
COMPONENT = "app.kubernetes.io/component"
HEALTH = 8081
SERVICES = ("app-deployer", "endpoint-router", "metrics", "model-manager", "token-quota", "usage-meter")
STORES = (("redis", 6379), ("postgresql", 5432))
INSIDE = (
    {(service, "nats", 4222) for service in (*SERVICES, "gateway")}
    | {("test", service, HEALTH) for service in SERVICES}
    | {
        ("gateway", "endpoint-router", 18000),
        ("gateway", "token-quota", 8090),
        *((program, *server) for program in ("token-quota", "usage-meter") for server in STORES),
        ("test", "gateway", 8080),
    }
)
"""(from, to, port) of every connection inside a release."""
DNS = {(53, "UDP"), (53, "TCP"), (5353, "UDP"), (5353, "TCP")}
"""5353 is the port of OpenShift's DNS pods."""


def policies(rendered: Any) -> dict[str, Json]:
    """Component -> its policy; the policy for all pods has an empty name. The Job's pod is no part of the release."""
    return {
        found["spec"]["podSelector"]["matchLabels"].get(COMPONENT, ""): found["spec"]
        for found in rendered.of("NetworkPolicy")
        if found["metadata"]["labels"].get(COMPONENT) != "secrets"
    }


def named(peers: list[Json]) -> list[str]:
    """Components of this release among the peers."""
    return [peer["podSelector"]["matchLabels"][COMPONENT] for peer in peers if "podSelector" in peer]


def ports(rule: Json) -> set[tuple[int, str]]:
    return {(port["port"], port["protocol"]) for port in rule.get("ports") or ()}


def outside(rules: list[Json] | None, side: str) -> list[tuple[list[Json], set[tuple[int, str]]]]:
    """(peers, ports) of the rules for peers outside of the release."""
    return [(rule.get(side, []), ports(rule)) for rule in rules or () if not named(rule.get(side, []))]


def test_both_ends_of_every_connection_are_open_and_no_others(default: Any) -> None:
    found = policies(default)
    sent = {
        (caller, callee, port)
        for caller, policy in found.items()
        for rule in policy.get("egress") or ()
        for callee in named(rule.get("to", []))
        for port, _ in ports(rule)
    }
    received = {
        (caller, callee, port)
        for callee, policy in found.items()
        for rule in policy.get("ingress") or ()
        for caller in named(rule.get("from", []))
        for port, _ in ports(rule)
    }
    assert INSIDE == sent
    assert INSIDE == received


def test_connections_that_no_policy_allows_are_closed(default: Any) -> None:
    everything = policies(default)[""]
    assert ["Ingress", "Egress"] == everything["policyTypes"]
    assert not everything.get("ingress")
    assert not everything.get("egress")
    assert {"app.kubernetes.io/name": "arks", "app.kubernetes.io/instance": "arks"} == everything["podSelector"][
        "matchLabels"
    ]


def test_only_the_gateway_is_open_to_outside_clients(default: Any) -> None:
    open_to_outside = {name: outside(policy.get("ingress"), "from") for name, policy in policies(default).items()}
    assert {"gateway": [([], {(8080, "TCP")})]} == {name: rules for name, rules in open_to_outside.items() if rules}


def test_servers_open_no_connections(default: Any) -> None:
    for server in ("nats", "redis", "postgresql"):
        assert not policies(default)[server].get("egress")


@pytest.mark.parametrize("component", ["gateway", "metrics"])
def test_engines_are_reached_on_any_port_in_any_namespace(component: str, default: Any) -> None:
    rules = outside(policies(default)[component].get("egress"), "to")
    assert ([{"namespaceSelector": {}}], set()) in rules


def test_only_services_reach_the_api_server(default: Any) -> None:
    api: tuple[list[Json], set[tuple[int, str]]] = ([], {(443, "TCP"), (6443, "TCP")})
    callers = {name for name, policy in policies(default).items() if api in outside(policy.get("egress"), "to")}
    assert set(SERVICES) == callers


def test_components_that_call_others_may_query_dns(default: Any) -> None:
    for name, policy in policies(default).items():
        rules = outside(policy.get("egress"), "to")
        assert (([], DNS) in rules) == bool(policy.get("egress")), name


def test_clients_can_be_limited(render: Any) -> None:
    peer = {"ipBlock": {"cidr": "10.0.0.0/8"}}
    found = policies(render({"networkPolicy": {"clients": [peer]}}))
    assert [([peer], {(8080, "TCP")})] == outside(found["gateway"]["ingress"], "from")


def test_listed_peers_may_query_usage(render: Any) -> None:
    peer = {"ipBlock": {"cidr": "10.0.0.4/32"}}
    found = policies(render({"networkPolicy": {"usageFrom": [peer]}}))
    assert [([peer], {(8090, "TCP")})] == outside(found["token-quota"]["ingress"], "from")


def test_an_existing_server_is_reached_on_the_port_of_its_address(render: Any) -> None:
    values = {
        "nats": {"external": {"url": "nats://a.example.com,tls://b.example.com:4333"}},
        "redis": {"external": {"url": "rediss://cache.example.com:6390"}},
        "postgresql": {"external": {"url": "postgresql+asyncpg://arks@db.example.com:6543/arks"}},
    }
    found = policies(render(values))
    assert not {"nats", "redis", "postgresql"} & set(found)
    for program in ("token-quota", "usage-meter"):
        reached = {port for _, opened in outside(found[program]["egress"], "to") for port, _ in opened}
        assert {53, 5353, 443, 6443, 4222, 4333, 6390, 6543} == reached


@pytest.mark.parametrize(
    ("address", "port"),
    [("http://collector:4318", 4318), ("http://collector", 80), ("https://traces.example.com/a", 443)],
)
def test_the_collector_of_traces_is_reached_on_the_port_of_its_address(address: str, port: int, render: Any) -> None:
    values = {"otlpEndpoint": address, "networkPolicy": {"apiServer": {"ports": [6443]}}}
    found = policies(render(values))
    for component, others in (("metrics", {6443}), ("gateway", set())):
        opened = {number for _, rule in outside(found[component]["egress"], "to") for number, _ in rule}
        assert {53, 5353, port} | others == opened


def test_open_ports_are_ports_of_a_container(default: Any) -> None:
    listening = {
        (found["metadata"]["labels"][COMPONENT], port["containerPort"])
        for kind in ("Deployment", "StatefulSet")
        for found in default.of(kind)
        for group in ("initContainers", "containers")
        for container in found["spec"]["template"]["spec"].get(group, ())
        for port in container.get("ports", ())
    }
    assert {(callee, port) for _, callee, port in INSIDE} <= listening
