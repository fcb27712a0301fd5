"""The gRPC server, with a gRPC client in the same process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
import pytest_asyncio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from prometheus_client import CollectorRegistry

from arks.contracts.gateway_token import GATEWAY_TOKEN_HEADER, TokenGate
from arks.endpoint_router.adapters.envoy.messages import Cluster
from arks.endpoint_router.adapters.xds import CLUSTER, ENDPOINT, ConfigSnapshot, XdsServer
from arks.endpoint_router.adapters.xds.server import SERVICE
from arks.endpoint_router.adapters.xds.wire import FullState, Incremental
from arks.kit.clock import SystemClock
from arks.kit.ports import free_port
from arks.kit.testing.wait import eventually

TOKEN = "ours"  # of these tests
WIRES = (FullState(), Incremental())


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

    def __init__(self, port: int, wire: FullState | Incremental, token: str | None = TOKEN) -> None:
        self._wire = wire
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        method = self._channel.stream_stream(
            f"/{SERVICE}/{wire.method}",
            request_serializer=wire.request.SerializeToString,
            response_deserializer=wire.response.FromString,
        )
        self.call: Any = method(metadata=(("x-arks-gateway-token", token),) if token else None)

    async def subscribe(self, type_: str, *names: str) -> None:
        request: DiscoveryRequest | DeltaDiscoveryRequest
        if isinstance(self._wire, Incremental):
            request = DeltaDiscoveryRequest(type_url=type_, resource_names_subscribe=names)
        else:
            request = DiscoveryRequest(type_url=type_, resource_names=names)
        request.node.id = "test"
        await self.call.write(request)

    async def get(self) -> Any:
        async with asyncio.timeout(30):
            response = await self.call.read()
        assert isinstance(response, self._wire.response)
        return response

    async def answer(self, response: Any, error: str = "") -> None:
        request = self._wire.request(type_url=response.type_url, response_nonce=response.nonce)
        if error:
            request.error_detail.message = error
        await self.call.write(request)

    async def close(self) -> None:
        self.call.cancel()
        await self._channel.close()


@pytest_asyncio.fixture(params=WIRES, ids=lambda wire: wire.method)
async def client(discovery: Discovery, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    client = Client(discovery.port, request.param)
    yield client
    await client.close()


def clusters(response: Any) -> list[Cluster]:
    packed = [getattr(resource, "resource", resource) for resource in response.resources]
    return [Cluster.FromString(resource.value) for resource in packed]


def names(response: Any) -> list[str]:
    return sorted(cluster.name for cluster in clusters(response))


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.method)
@pytest.mark.parametrize("token", [None, "-", "other"])
async def test_configuration_is_for_envoys_with_the_token(
    discovery: Discovery, token: str | None, wire: FullState | Incremental
) -> None:
    discovery.server.open()
    client = Client(discovery.port, wire, token)
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
    assert (
        [Cluster(name="a")],
        [(CLUSTER, "a", "test", "no good")],
        1.0,
    ) == (
        clusters(await client.get()),
        discovery.rejections,
        discovery.registry.get_sample_value("arks_xds_refusals_total", {"type": "Cluster"}),
    )


async def test_an_update_takes_from_the_cause_of_its_oldest_change_to_its_acknowledgement(
    discovery: Discovery, client: Client
) -> None:
    discovery.server.open()
    await client.subscribe(CLUSTER)
    await client.answer(await client.get())  # without changes
    caused_at = SystemClock().monotonic() - 1000
    discovery.snapshot.put(CLUSTER, "a", Cluster(name="a"), caused_at)
    await client.answer(await client.get())
    await eventually(lambda: discovery.snapshot.was_accepted(CLUSTER, "a"), what="accepted")
    count, total = (
        discovery.registry.get_sample_value(f"arks_xds_update_seconds_{name}", {"type": "Cluster"})
        for name in ("count", "sum")
    )
    assert 1 == count
    assert 1000 <= (total or 0) < 1100


async def test_a_slow_envoy_does_not_delay_another(discovery: Discovery, client: Client) -> None:
    discovery.server.open()
    slow = Client(discovery.port, FullState())
    for stream in (slow, client):
        await stream.subscribe(CLUSTER)
    await slow.get()
    await client.answer(await client.get())
    for number in range(3):
        discovery.snapshot.put(CLUSTER, f"c{number}", Cluster(name=f"c{number}"))
        response = await client.get()
        assert f"c{number}" in names(response)
        await client.answer(response)
    await slow.close()


async def test_envoys_of_both_protocols_are_served_at_once_and_the_rejection_of_one_is_not_the_others(
    discovery: Discovery,
) -> None:
    """As during an upgrade."""
    discovery.snapshot.put(CLUSTER, "a", Cluster(name="a"))
    discovery.server.open()
    old, new = (Client(discovery.port, wire) for wire in WIRES)
    for envoy in (old, new):
        await envoy.subscribe(CLUSTER)
        await envoy.answer(await envoy.get())
    await eventually(lambda: discovery.server.streams == 2 and discovery.server.settled, what="acknowledged")
    discovery.snapshot.put(CLUSTER, "b", Cluster(name="b"))
    rejected, accepted = await old.get(), await new.get()
    await old.answer(rejected, error="b: no")
    await new.answer(accepted)
    await eventually(
        lambda: discovery.rejections and discovery.snapshot.was_accepted(CLUSTER, "b"), what="both answers"
    )
    assert (["a", "b"], ["b"]) == (names(rejected), names(accepted))
    discovery.snapshot.put(CLUSTER, "c", Cluster(name="c"))
    assert ["c"] == names(await new.get())
    for envoy in (old, new):
        await envoy.close()


async def test_a_stream_that_ends_is_forgotten(discovery: Discovery) -> None:
    client = Client(discovery.port, Incremental())
    discovery.snapshot.put(CLUSTER, "a", Cluster(name="a"))
    discovery.server.open()
    await client.subscribe(CLUSTER)
    await client.answer(await client.get(), error="a: no")
    await eventually(lambda: discovery.snapshot.is_rejected(CLUSTER, "a"), what="rejected")
    await client.close()
    await eventually(lambda: discovery.server.streams == 0, what="the stream is gone")
    assert (False, []) == (discovery.snapshot.is_rejected(CLUSTER, "a"), discovery.snapshot._listeners)


async def test_a_stream_that_is_cancelled_twice_is_forgotten(discovery: Discovery) -> None:
    async def requests() -> AsyncIterator[DeltaDiscoveryRequest]:
        await asyncio.Event().wait()
        yield DeltaDiscoveryRequest()

    context: Any = SimpleNamespace(invocation_metadata=lambda: ((GATEWAY_TOKEN_HEADER, TOKEN),))
    stream = asyncio.create_task(discovery.server._stream(Incremental(), requests(), context))
    await eventually(lambda: discovery.server.streams == 1, what="the stream is up")
    for _ in range(2):
        stream.cancel()
        await asyncio.sleep(0)
    with suppress(asyncio.CancelledError):
        await stream
    assert (0, []) == (discovery.server.streams, discovery.snapshot._listeners)


async def test_at_shutdown_streams_end_soon_and_without_a_last_response(discovery: Discovery, client: Client) -> None:
    discovery.snapshot.put(CLUSTER, "a", Cluster(name="a"))  # a held one, whose endpoints are not known yet
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
