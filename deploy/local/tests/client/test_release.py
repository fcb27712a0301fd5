"""The parts of a release of the chart, found in its pods."""

from typing import Any

import pytest

from arks.local.client.release import SecretKey, port_of, ready_pod, secret_key_of, value_in

READY = {"conditions": [{"type": "Ready", "status": "True"}]}
WAITING = {"conditions": [{"type": "Ready", "status": "False"}]}


def pod(name: str, status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name} | metadata, "status": status}


def test_the_pod_is_ready_and_stays() -> None:
    pods = [pod("starting", {}), pod("waiting", WAITING), pod("leaving", READY, deletionTimestamp="x"), pod("b", READY)]
    assert "b" == (ready_pod(pods) or {})["metadata"]["name"]
    assert ready_pod(pods[:3]) is None


@pytest.mark.parametrize(("name", "expected"), [("api", 8090), ("http", 8080), ("xds", None)])
def test_ports_of_sidecars_count(name: str, expected: int | None) -> None:
    containers = [{"ports": [{"name": "api", "containerPort": 8090}]}, {}]
    sidecars = [{"ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 1}]}]
    assert expected == port_of({"spec": {"containers": containers, "initContainers": sidecars}}, name)


def test_secrets_are_found_under_the_operators_own_names() -> None:
    source = {"secret": {"name": "mine", "items": [{"key": "nats.token", "path": "nats-token"}]}}
    volumes = [{"emptyDir": {}}, {"projected": {"sources": [{"configMap": {}}, source]}}]
    found = {"spec": {"volumes": volumes}}
    assert SecretKey("mine", "nats.token") == secret_key_of(found, "nats-token")
    assert secret_key_of(found, "pepper") is None
    assert secret_key_of({"spec": {}}, "pepper") is None


def test_values_of_secrets_are_decoded() -> None:
    assert "hello" == value_in({"data": {"a": "aGVsbG8K"}}, "a")
    assert value_in({}, "a") is None
