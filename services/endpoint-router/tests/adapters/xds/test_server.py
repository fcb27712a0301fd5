"""The gRPC server, asked by a gRPC client in the same process."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
import pytest_asyncio
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse
from prometheus_client import CollectorRegistry

from arks.endpoint_router.adapters.envoy.messages import Cluster
from arks.endpoint_router.adapters.xds import CLUSTER, ENDPOINT, AdsServer, World
from arks.endpoint_router.adapters.xds.server import SERVICE
from arks.kit.clock import SystemClock
from arks.kit.process import free_port
from arks.kit.testing.wait import eventually


@dataclass
class Discovery:
    world: World
    server: AdsServer
    port: int
    registry: CollectorRegistry
    refusals: list[tuple[str, str, str, str]] = field(default_factory=list)


@pytest_asyncio.fixture
async def discovery() -> AsyncIterator[Discovery]:
    world, registry = World(), CollectorRegistry()
    refusals: list[tuple[str, str, str, str]] = []
    server = AdsServer(
        world,
        "127.0.0.1:0",
        registry=registry,
        clock=SystemClock(),
        on_refused=lambda *refusal: refusals.append(refusal),
    )
    yield Discovery(world, server, await server.start(), registry, refusals)
    await server.stop()


class Client:
    """One stream, as an Envoy holds it."""

    def __init__(self, port: int) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        method = self._channel.stream_stream(
            f"/{SERVICE}/StreamAggregatedResources",
            request_serializer=DiscoveryRequest.SerializeToString,
            response_deserializer=DiscoveryResponse.FromString,
        )
        self.call: Any = method()

    async def ask(self, type_: str, *names: str) -> None:
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
    return sorted(Cluster.FromString(one.value).name for one in response.resources)


async def test_nothing_is_sent_before_the_world_is_known(discovery: Discovery, client: Client) -> None:
    await client.ask(CLUSTER)
    await eventually(lambda: discovery.server.streams == 1, what="the stream is up")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(client.call.read())), 0.1)


async def test_what_waited_is_sent_when_the_world_is_known(discovery: Discovery, client: Client) -> None:
    await client.ask(CLUSTER)
    await eventually(lambda: discovery.server.streams == 1, what="the stream is up")
    discovery.world.put(CLUSTER, "a", Cluster(name="a"))
    discovery.server.open()
    assert ["a"] == names(await client.get())


async def test_changes_within_a_few_milliseconds_are_one_response(discovery: Discovery, client: Client) -> None:
    discovery.server.open()
    await client.ask(CLUSTER)
    await client.answer(await client.get())
    await eventually(lambda: discovery.server.settled, what="acknowledged")
    for name in "abc":
        discovery.world.put(CLUSTER, name, Cluster(name=name))
    assert ["a", "b", "c"] == names(await client.get())


async def test_a_refusal_is_told_counted_and_followed_by_the_last_good_one(
    discovery: Discovery, client: Client
) -> None:
    discovery.world.put(CLUSTER, "a", Cluster(name="a"))
    discovery.server.open()
    await client.ask(CLUSTER)
    await client.answer(await client.get())
    await eventually(lambda: discovery.world.has_good(CLUSTER, "a"), what="accepted")
    bad = Cluster(name="a")
    bad.connect_timeout.seconds = 1
    discovery.world.put(CLUSTER, "a", bad)
    await client.answer(await client.get(), error="no good")
    (resource,) = (await client.get()).resources
    assert (
        Cluster(name="a"),
        [(CLUSTER, "a", "test", "no good")],
        1.0,
    ) == (
        Cluster.FromString(resource.value),
        discovery.refusals,
        discovery.registry.get_sample_value("arks_xds_refusals_total", {"type": "Cluster"}),
    )


async def test_a_slow_envoy_does_not_hold_up_another(discovery: Discovery, client: Client) -> None:
    discovery.server.open()
    slow = Client(discovery.port)
    for one in (slow, client):
        await one.ask(CLUSTER)
    await slow.get()
    await client.answer(await client.get())
    for number in range(3):
        discovery.world.put(CLUSTER, f"c{number}", Cluster(name=f"c{number}"))
        response = await client.get()
        assert number + 1 == len(response.resources)
        await client.answer(response)
    await slow.close()


async def test_a_stream_that_ends_is_forgotten(discovery: Discovery) -> None:
    client = Client(discovery.port)
    await client.ask(CLUSTER)
    await eventually(lambda: discovery.server.streams == 1, what="the stream is up")
    await client.close()
    await eventually(lambda: discovery.server.streams == 0, what="the stream is gone")
    discovery.world.put(CLUSTER, "a", Cluster(name="a"))  # nobody is told, nothing breaks


async def test_at_shutdown_streams_end_soon_and_without_a_last_response(discovery: Discovery, client: Client) -> None:
    discovery.server.open()
    await client.ask(ENDPOINT, "a")
    await eventually(lambda: discovery.server.streams == 1, what="the stream is up")
    async with asyncio.timeout(20):
        await discovery.server.stop()
    assert (0, grpc.aio.EOF) == (discovery.server.streams, await client.call.read())


async def test_a_port_that_is_taken_is_an_error_that_names_it() -> None:
    port = free_port()
    servers = [
        AdsServer(
            World(),
            f"127.0.0.1:{port}",
            registry=CollectorRegistry(),
            clock=SystemClock(),
            on_refused=lambda *_: None,
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
