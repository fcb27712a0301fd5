"""The gRPC server, with a gRPC client in the same process."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
import pytest_asyncio
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse
from prometheus_client import CollectorRegistry

from arks.contracts.gateway_token import TokenGate
from arks.endpoint_router.adapters.envoy.messages import Cluster
from arks.endpoint_router.adapters.xds import CLUSTER, ENDPOINT, ConfigSnapshot, XdsServer
from arks.endpoint_router.adapters.xds.server import SERVICE
from arks.kit.clock import SystemClock
from arks.kit.ports import free_port
from arks.kit.testing.wait import eventually

TOKEN = "ours"  # of these tests


@dataclass
class Discovery:
    snapshot: ConfigSnapshot
    server: XdsServer
    port: int
    registry: CollectorRegistry
    rejections: list[tuple[str, str, str, str]] = field(default_factory=list)


@pytest_asyncio.fixture
async def discovery() -> AsyncIterator[Discovery]:
    snapshot, registry = ConfigSnapshot(), CollectorRegistry()
    rejections: list[tuple[str, str, str, str]] = []
    server = XdsServer(
        snapshot,
        "127.0.0.1:0",
        registry=registry,
        clock=SystemClock(),
        on_rejected=lambda *rejection: rejections.append(rejection),
        gate=TokenGate(TOKEN),
    )
    yield Discovery(snapshot, server, await server.start(), registry, rejections)
    await server.stop()


class Client:
    """An Envoy's side of one stream."""

    def __init__(self, port: int, token: str | None = TOKEN) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        method = self._channel.stream_stream(
            f"/{SERVICE}/StreamAggregatedResources",
            request_serializer=DiscoveryRequest.SerializeToString,
            response_deserializer=DiscoveryResponse.FromString,
        )
        self.call: Any = method(metadata=(("x-arks-gateway-token", token),) if token else None)

    async def subscribe(self, type_: str, *names: str) -> None:
        request = DiscoveryRequest(type_url=type_, resource_names=names)
        request.node.id = "test"
        await self.call.write(request)

    async def get(self) -> DiscoveryResponse:
        async with asyncio.timeout(30):
            response = await self.call.read()
        assert isinstance(response, DiscoveryResponse)
        return response

    async def answer(self, response: DiscoveryResponse, error: str = "") -> None:
        request = DiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
        if error:
            request.error_detail.message = error
        await self.call.write(request)

    async def close(self) -> None:
        self.call.cancel()
        await self._channel.close()


@pytest_asyncio.fixture
async def client(discovery: Discovery) -> AsyncIterator[Client]:
    client = Client(discovery.port)
    yield client
    await client.close()


def names(response: DiscoveryResponse) -> list[str]:
    return sorted(Cluster.FromString(resource.value).name for resource in response.resources)


@pytest.mark.parametrize("token", [None, "-", "other"])
async def test_configuration_is_for_envoys_with_the_token(discovery: Discovery, token: str | None) -> None:
    discovery.server.open()
    client = Client(discovery.port, token)
    async with asyncio.timeout(30):
        assert grpc.StatusCode.UNAUTHENTICATED == await client.call.code()
    assert 0 == discovery.server.streams
    await client.close()


async def test_nothing_is_sent_before_the_snapshot_is_complete(discovery: Discovery, client: Client) -> None:
    await client.subscribe(CLUSTER)
    await eventually(lambda: discovery.server.streams == 1, what="the stream is up")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(client.call.read())), 0.1)


async def test_earlier_changes_are_sent_once_the_snapshot_is_complete(discovery: Discovery, client: Client) -> None:
    await client.subscribe(CLUSTER)
    await eventually(lambda: discovery.server.streams == 1, what="the stream is up")
    discovery.snapshot.put(CLUSTER, "a", Cluster(name="a"))
    discovery.server.open()
    assert ["a"] == names(await client.get())


async def test_changes_within_a_few_milliseconds_are_one_response(discovery: Discovery, client: Client) -> None:
    discovery.server.open()
    await client.subscribe(CLUSTER)
    await client.answer(await client.get())
    await eventually(lambda: discovery.server.settled, what="acknowledged")
    for name in "abc":
        discovery.snapshot.put(CLUSTER, name, Cluster(name=name))
    assert ["a", "b", "c"] == names(await client.get())


async def test_a_rejection_is_reported_counted_and_followed_by_the_last_accepted_version(
    discovery: Discovery, client: Client
) -> None:
    discovery.snapshot.put(CLUSTER, "a", Cluster(name="a"))
    discovery.server.open()
    await client.subscribe(CLUSTER)
    await client.answer(await client.get())
    await eventually(lambda: discovery.snapshot.was_accepted(CLUSTER, "a"), what="accepted")
    bad = Cluster(name="a")
    bad.connect_timeout.seconds = 1
    discovery.snapshot.put(CLUSTER, "a", bad)
    await client.answer(await client.get(), error="no good")
    (resource,) = (await client.get()).resources
    assert (
        Cluster(name="a"),
        [(CLUSTER, "a", "test", "no good")],
        1.0,
    ) == (
        Cluster.FromString(resource.value),
        discovery.rejections,
        discovery.registry.get_sample_value("arks_xds_refusals_total", {"type": "Cluster"}),
    )


async def test_a_slow_envoy_does_not_delay_another(discovery: Discovery, client: Client) -> None:
    discovery.server.open()
    slow = Client(discovery.port)
    for stream in (slow, client):
        await stream.subscribe(CLUSTER)
    await slow.get()
    await client.answer(await client.get())
    for number in range(3):
        discovery.snapshot.put(CLUSTER, f"c{number}", Cluster(name=f"c{number}"))
        response = await client.get()
        assert number + 1 == len(response.resources)
        await client.answer(response)
    await slow.close()


async def test_a_stream_that_ends_is_forgotten(discovery: Discovery) -> None:
    client = Client(discovery.port)
    await client.subscribe(CLUSTER)
    await eventually(lambda: discovery.server.streams == 1, what="the stream is up")
    await client.close()
    await eventually(lambda: discovery.server.streams == 0, what="the stream is gone")
    discovery.snapshot.put(CLUSTER, "a", Cluster(name="a"))  # no stream is left to send it to


async def test_at_shutdown_streams_end_soon_and_without_a_last_response(discovery: Discovery, client: Client) -> None:
    discovery.server.open()
    await client.subscribe(ENDPOINT, "a")
    await eventually(lambda: discovery.server.streams == 1, what="the stream is up")
    async with asyncio.timeout(20):
        await discovery.server.stop()
    assert (0, grpc.aio.EOF) == (discovery.server.streams, await client.call.read())


async def test_a_port_in_use_is_an_error_that_names_it() -> None:
    port = free_port()
    servers = [
        XdsServer(
            ConfigSnapshot(),
            f"127.0.0.1:{port}",
            registry=CollectorRegistry(),
            clock=SystemClock(),
            on_rejected=lambda *_: None,
        )
        for _ in range(2)
    ]
    await servers[0].start()
    try:
        with pytest.raises(OSError, match=f"cannot listen for Envoy on 127.0.0.1:{port}"):
            await servers[1].start()
    finally:
        for server in servers:
            await server.stop()
