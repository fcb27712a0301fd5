"""The HTTPRoute of an endpoint with a `gatewayRef`, and what is said of it."""

from typing import Any

import pytest

from arks.contracts.resources.endpoint import ArksEndpoint
from arks.endpoint_router.domain.http_route import Backend, http_route, is_of, says, written

BACKEND = Backend("arks-gateway", "arks-system", 80)
GATEWAY = {"name": "arks-eg", "namespace": "arks-operator-system"}


def endpoint(**spec: object) -> ArksEndpoint:
    metadata = {"name": "chat", "namespace": "team", "uid": "u-1"}
    return ArksEndpoint.from_dict({"metadata": metadata, "spec": {"gatewayRef": GATEWAY, **spec}})


def spec_of(**spec: object) -> dict[str, Any]:
    found: dict[str, Any] = http_route(endpoint(**spec), BACKEND)["spec"]
    return found


def test_the_route_leads_to_envoy_of_arks_and_never_past_it_to_engines() -> None:
    spec = spec_of(routeConfigs=[{"name": "arks-application-a", "weight": 3}])
    assert [GATEWAY] == spec["parentRefs"]
    (rule,) = spec["rules"]
    assert [{"name": "arks-gateway", "namespace": "arks-system", "port": 80}] == rule["backendRefs"]
    assert [{"path": {"type": "PathPrefix", "value": "/"}}] == rule["matches"]


def test_the_route_sets_no_limit_to_the_time_of_an_answer() -> None:
    assert {"request": "0s"} == spec_of()["rules"][0]["timeouts"]


def test_matches_and_the_listener_are_as_the_endpoint_has_them() -> None:
    by_path: dict[str, object] = {"path": {"type": "Exact", "value": "/v1/chat/completions"}, "method": "POST"}
    matches = [by_path, {"headers": [{"name": "x-team", "value": "a"}]}]
    spec = spec_of(matchConfigs=matches, gatewayRef={**GATEWAY, "sectionName": "https", "port": 443})
    assert matches == spec["rules"][0]["matches"]
    assert [{**GATEWAY, "sectionName": "https", "port": 443}] == spec["parentRefs"]


def test_a_route_belongs_to_the_endpoint_that_made_it_and_to_no_other_of_its_name() -> None:
    route = http_route(endpoint(), BACKEND)
    later = ArksEndpoint.from_dict({"metadata": {"name": "chat", "namespace": "team", "uid": "u-2"}, "spec": {}})
    assert (True, False, False) == (
        is_of(route, endpoint()),
        is_of(route, later),
        is_of({"metadata": {"name": "chat"}}, endpoint()),
    )


@pytest.mark.parametrize(
    ("found", "wanted", "same"),
    [
        ({"a": 1, "added": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({}, {"a": {}}, False),
        ([{"a": 1, "weight": 1}], [{"a": 1}], True),
        ([{"a": 1}, {"b": 1}], [{"a": 1}], False),
        (None, [], False),
    ],
)
def test_defaults_that_the_api_server_added_are_no_difference(found: object, wanted: object, same: bool) -> None:
    assert same is says(found, wanted)


def parent(gateway: str, **conditions: str) -> dict[str, object]:
    said = [{"type": type_, "status": status, "reason": "R", "message": "m"} for type_, status in conditions.items()]
    return {"parentRef": {"name": gateway}, "conditions": said}


@pytest.mark.parametrize(
    ("parents", "reason", "attached"),
    [
        ([], "GatewaySilent", False),
        ([parent("another", Accepted="True")], "GatewaySilent", False),
        ([parent("arks-eg", Accepted="True", ResolvedRefs="True")], "Attached", True),
        ([parent("arks-eg", Accepted="False", ResolvedRefs="True")], "GatewayRefuses", False),
        ([parent("arks-eg", Accepted="True", ResolvedRefs="False")], "GatewayRefuses", False),
    ],
)
def test_what_the_gateway_says_is_passed_on(parents: list[object], reason: str, attached: bool) -> None:
    found = written({"status": {"parents": parents}}, endpoint())
    assert (reason, attached) == (found.reason, found.attached)
