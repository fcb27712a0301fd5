"""Memory of accelerators by the labels of nodes."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.app_deployer.adapters.kubernetes.hardware import AMD, NVIDIA, NodeHardware, parse_node
from arks.app_deployer.domain.fit import Hardware
from arks.contracts.resources import ArksApplication
from arks.kit.errors import Unavailable
from arks.kit.kube.api import KubeApi
from arks.kit.testing.clock import FakeClock

GIB = 1 << 30


class FakeApi:
    def __init__(self, nodes: list[dict[str, str]]) -> None:
        self.nodes = nodes
        self.failing = False
        self.reads = 0

    async def pages(self, _: object, __: None, labels: str = "") -> AsyncIterator[Any]:
        self.reads += 1
        if self.failing:
            raise Unavailable("nodes is forbidden")
        yield [{"metadata": {"labels": node}} for node in self.nodes if labels in node], "1"


def application(runtime: str = "vllm", **instance: Any) -> ArksApplication:
    spec = {"runtime": runtime, "model": {"name": "m"}, "instanceSpec": instance}
    metadata = {"name": "app", "namespace": "default"}
    return ArksApplication.from_dict(
        {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "metadata": metadata, "spec": spec}
    )


def hardware(api: FakeApi, clock: FakeClock) -> NodeHardware:
    return NodeHardware(cast(KubeApi, api), clock)


async def test_the_largest_accelerator_of_the_selected_nodes_counts(clock: FakeClock) -> None:
    nodes = [{NVIDIA: "16384", "pool": "t4"}, {NVIDIA: "81920", "pool": "h100"}, {AMD: "192Gi", "pool": "mi300"}]
    found = hardware(FakeApi(nodes), clock)
    assert Hardware(192 * GIB) == await found.of(application())
    assert Hardware(16 * GIB) == await found.of(application(nodeSelector={"pool": "t4"}))
    assert Hardware() == await found.of(application(nodeSelector={"pool": "none"}))


async def test_nodes_are_read_every_few_minutes_and_may_be_forbidden(clock: FakeClock) -> None:
    api = FakeApi([{NVIDIA: "16384"}])
    found = hardware(api, clock)
    await found.of(application())
    await found.of(application())
    assert 2 == api.reads
    api.failing = True
    clock.advance(301)
    assert Hardware() == await found.of(application())


async def test_engines_on_processors_have_the_limit_of_their_pods(clock: FakeClock) -> None:
    api = FakeApi([])
    limited = application("llamacpp", resources={"limits": {"memory": "2Gi"}})
    assert Hardware(memory_bytes=2 * GIB) == await hardware(api, clock).of(limited)
    assert 0 == api.reads


@given(st.dictionaries(st.sampled_from([NVIDIA, AMD]), st.text(max_size=8) | st.integers() | st.none()))
def test_anything_may_be_in_a_label(labels: dict[str, Any]) -> None:
    assert parse_node({"metadata": {"labels": labels}}).accelerator_bytes >= 0


@pytest.mark.parametrize("text", ["", "-1", "lots", "1e9"])
def test_a_label_that_is_no_number_is_unknown(text: str) -> None:
    assert 0 == parse_node({"metadata": {"labels": {NVIDIA: text}}}).accelerator_bytes
