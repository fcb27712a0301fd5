"""Requests through a real Envoy that a router with a real NATS configures."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import httpx
import pytest

from arks.contracts.conditions import find_condition
from arks.contracts.facts import ReplicaState
from arks.endpoint_router.adapters.envoy.messages import Cluster
from arks.endpoint_router.adapters.xds import CLUSTER
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real
Platform = Any  # of conftest.py, which cannot be imported


async def spread(platform: Platform, model: str, requests: int, at_once: int = 1) -> Counter[int]:
    """Send requests; return how many each port answered. Every answer must be 200."""
    found: Counter[int] = Counter()
    remaining = requests

    async def client() -> None:
        nonlocal remaining
        while remaining > 0:
            remaining -= 1
            response = await platform.post(model)
            assert 200 == response.status_code, response.text
            found[response.json()["port"]] += 1

    await asyncio.gather(*(client() for _ in range(at_once)))
    return found


async def answers(platform: Platform, model: str) -> bool:
    try:
        return bool((await platform.post(model)).status_code == 200)
    except httpx.TransportError:  # Envoy does not listen yet
        return False


async def serve(platform: Platform, ports: Sequence[int], start: Callable[[], Awaitable[Any]] | None = None) -> Any:
    """Apply endpoint chat with replicas at these ports; return its router once a request is answered.

    `start`: starts the router; by default in the test's own process.
    """
    await platform.apply("chat")
    await platform.report("chat", ports)
    router = await (start or platform.router)()
    await platform.envoy()
    await eventually(lambda: answers(platform, "chat"), what="the first answer")
    return router


@asynccontextmanager
async def reporting(platform: Platform, *drain_rates: float) -> AsyncIterator[None]:
    """Repeat load reports of the application chat, because the router drops them after some seconds."""

    async def report() -> None:
        while True:
            await platform.load("chat", *drain_rates)
            await asyncio.sleep(0.1)

    task = asyncio.create_task(report())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_requests_reach_replicas_and_follow_them(platform: Platform) -> None:
    engines = [await platform.engine() for _ in range(3)]
    await serve(platform, [engines[0].port, engines[1].port])
    assert {engines[0].port, engines[1].port} == set(await spread(platform, "chat", 40))

    await platform.report("chat", [engines[1].port, engines[2].port])
    wanted = {engines[1].port: (50_000, "HEALTHY"), engines[2].port: (50_000, "HEALTHY")}

    async def followed() -> bool:
        return bool(wanted == await platform.hosts("chat"))

    await eventually(followed, what="Envoy has the new replica")
    await platform.post("chat")  # Envoy's worker may get the change a moment after its main thread
    assert {engines[1].port, engines[2].port} == set(await spread(platform, "chat", 40))


async def test_a_draining_replica_gets_no_new_requests_and_stays_in_envoy(platform: Platform) -> None:
    engines = [await platform.engine() for _ in range(2)]
    await platform.apply("chat")
    await platform.report("chat", [engines[0].port], "a")
    await platform.report("chat", [engines[1].port], "b")
    await platform.router()
    await platform.envoy()
    await eventually(lambda: answers(platform, "chat"), what="the first answer")
    await platform.report("chat", [engines[1].port], "b", state=ReplicaState.DRAINING)

    async def drains() -> bool:
        return bool((await platform.hosts("chat"))[engines[1].port][1] == "DRAINING")

    await eventually(drains, what="Envoy drains it")
    await platform.post("chat")  # its worker may get the change a moment after its main thread
    before = engines[1].served
    assert ({engines[0].port}, before) == (set(await spread(platform, "chat", 30)), engines[1].served)


async def test_without_a_ready_replica_the_answer_is_503_at_once(platform: Platform) -> None:
    engine = await platform.engine()
    await serve(platform, [engine.port])
    await platform.report("chat", [])

    async def unavailable() -> bool:
        return bool((await platform.post("chat")).status_code == 503)

    await eventually(unavailable, what="503")
    assert {} == await platform.hosts("chat")
    async with asyncio.timeout(4):  # the request is not held for replicas, which takes 5 s
        assert 503 == (await platform.post("chat")).status_code


async def test_a_canary_gets_its_share_under_load(platform: Platform) -> None:
    stable, canary = await platform.engine(), await platform.engine()
    for engine in (stable, canary):
        engine.delay_seconds = 0.02
    await platform.apply("chat", defaultWeight=90, routeConfigs=[{"name": "arks-application-canary", "weight": 10}])
    await platform.report("chat", [stable.port], "stable")
    await platform.report("chat", [canary.port], "canary")
    await platform.router()
    await platform.envoy()
    await eventually(lambda: answers(platform, "chat"), what="the first answer")
    found = await spread(platform, "chat", 1_000, at_once=40)
    assert 90 <= found[canary.port] <= 110


async def test_requests_of_gateways_roll_a_failing_canary_back(platform: Platform) -> None:
    await platform.router()
    await platform.report("chat", [9001])
    await platform.report("chat", [9002], "new")
    await platform.apply("chat", rollout={"canary": "new", "steps": [10], "minimumRequests": 10})

    async def phase() -> str | None:
        status = (await platform.endpoint("chat")).status
        return status.rollout.phase if status is not None and status.rollout is not None else None

    async def begun() -> bool:
        return await phase() == "Progressing"

    await eventually(begun, what="the rollout has begun")
    records = [
        {"endpoint": "chat", "replica": f"127.0.0.1:{port}", "statusCode": status}
        for port, status in [(9001, 200), (9002, 500)] * 20
    ]

    async def rolled_back() -> bool:
        await platform.home.bus.publish(
            "arks.usage.default", json.dumps({"namespace": "default", "records": records}).encode()
        )
        return await phase() == "RolledBack"

    await eventually(rolled_back, within_seconds=30, what="the canary is rolled back")


async def test_weights_from_load_move_traffic(platform: Platform) -> None:
    engines = [await platform.engine() for _ in range(2)]
    await serve(platform, [engine.port for engine in engines])

    await platform.report_drain_rates("chat", 6.0, 3.0)

    async def moved() -> bool:
        return bool((await platform.hosts("chat"))[engines[0].port][0] > 66_000)

    async with reporting(platform, 6.0, 3.0):
        await eventually(moved, what="the fast replica has the greater weight")
        found = await spread(platform, "chat", 200)
    assert 1.7 < found[engines[0].port] / found[engines[1].port] < 2.3


async def test_a_replica_that_changes_its_group_finishes_its_requests(platform: Platform) -> None:
    engines = [await platform.engine() for _ in range(2)]
    await serve(platform, [engine.port for engine in engines])
    for engine in engines:
        engine.hold = asyncio.Event()
    requests = [asyncio.create_task(platform.post("chat")) for _ in range(8)]

    async def all_arrived() -> bool:
        return bool(await platform.stat("cluster.default/chat.upstream_rq_active") == len(requests))

    await eventually(all_arrived, what="the requests are in flight")
    await platform.report_drain_rates("chat", 6.0, 3.0)

    async def parted() -> bool:
        weights = [weight for weight, _ in (await platform.hosts("chat")).values()]
        return len(set(weights)) == 2

    async with reporting(platform, 6.0, 3.0):
        await eventually(parted, what="each replica is a group of its own")
    for engine in engines:
        assert engine.hold is not None
        engine.hold.set()
    assert {200} == {response.status_code for response in await asyncio.gather(*requests)}


async def test_a_killed_router_takes_nothing_from_envoy_and_goes_on_after_its_restart(platform: Platform) -> None:
    engines = [await platform.engine() for _ in range(2)]
    router = await serve(platform, [engines[0].port], platform.router_process)

    stop, statuses = asyncio.Event(), Counter[int]()

    async def traffic() -> None:
        while not stop.is_set():
            statuses[(await platform.post("chat")).status_code] += 1
            await asyncio.sleep(0.002)

    client = asyncio.create_task(traffic())
    await router.kill()
    await asyncio.sleep(0.3)  # some traffic without a router
    await router.restart()
    await platform.router_ready()
    await platform.report("chat", [engines[0].port, engines[1].port])

    async def followed() -> bool:
        return {engine.port for engine in engines} == set(await platform.hosts("chat"))

    await eventually(followed, what="the restarted router drives Envoy")
    stop.set()
    await client
    assert [200] == list(statuses)
    assert 0 == await platform.stat("cluster_manager.cluster_removed")


class OldRouter(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Discovery of a release without the incremental protocol: a call of its method ends with UNIMPLEMENTED."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> None:
        self.refused.append(handler_call_details.method)


async def test_an_envoy_keeps_its_configuration_while_a_router_lacks_its_protocol(platform: Platform) -> None:
    """As during a rollback, or an upgrade in which gateways come first."""
    engines = [await platform.engine() for _ in range(2)]
    router = await serve(platform, [engines[0].port], platform.router_process)
    await router.kill()
    old, server = OldRouter(), grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([old])
    server.add_insecure_port(f"127.0.0.1:{platform.settings.xds_port}")
    await server.start()
    await eventually(lambda: len(old.refused) > 1, what="Envoy tries again")
    assert {"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"} == set(old.refused)
    assert {engines[0].port} == set(await spread(platform, "chat", 20))
    await server.stop(grace=None)
    await router.restart()
    await platform.router_ready()
    await platform.report("chat", [engine.port for engine in engines])

    async def followed() -> bool:
        return {engine.port for engine in engines} == set(await platform.hosts("chat"))

    await eventually(followed, what="the router that has it drives Envoy")
    assert 0 == await platform.stat("cluster_manager.cluster_removed")


async def test_a_router_that_starts_without_facts_keeps_envoys_replicas(platform: Platform) -> None:
    engine = await platform.engine()
    router = await serve(platform, [engine.port], platform.router_process)

    async def written() -> bool:
        status = (await platform.endpoint("chat")).status
        return status is not None and status.ready_replicas == 1

    await eventually(written, what="the status")
    await router.kill()
    await platform.home.bus.jetstream.delete_key_value("arks-replicas")
    await router.restart()
    await platform.router_ready()

    async def connected() -> bool:
        return bool(await platform.stat("control_plane.connected_state"))

    await eventually(connected, what="Envoy is connected again")
    for _ in range(50):
        assert 200 == (await platform.post("chat")).status_code
        await asyncio.sleep(0.01)
    platform.home.bus.forget_bucket("arks-replicas")
    other = await platform.engine()
    await platform.report("chat", [other.port])

    async def followed() -> bool:
        return {other.port} == set(await platform.hosts("chat"))

    await eventually(followed, what="the facts that came back are followed")


async def test_a_lost_bucket_of_replicas_stops_no_traffic(platform: Platform) -> None:
    engine = await platform.engine()
    await serve(platform, [engine.port])
    bucket = await platform.home.bus.bucket("arks-replicas")
    await bucket.delete("default.chat")
    for _ in range(30):
        assert 200 == (await platform.post("chat")).status_code
        await asyncio.sleep(0.01)


async def test_a_rejected_configuration_is_reported_and_changes_nothing(platform: Platform) -> None:
    engine = await platform.engine()
    router = await serve(platform, [engine.port])
    await eventually(lambda: router.snapshot.was_accepted(CLUSTER, "default/chat"), what="the acknowledgement")
    good = router.snapshot.resources(CLUSTER)["default/chat"]
    bad = Cluster.FromString(good.value)
    bad.load_balancing_policy.policies.add().typed_extension_config.name = "envoy.no.such.policy"
    router.snapshot.put(CLUSTER, "default/chat", bad)
    await eventually(lambda: router.metric("arks_xds_refusals_total", type="Cluster") == 1, what="the rejection")
    rejected_one = router.snapshot.resources(CLUSTER)["default/chat"]
    instead = router.snapshot.instead_of(CLUSTER, rejected_one, "default/chat")
    assert instead is not None
    assert good.value == instead.value

    async def rejected() -> bool:
        status = (await platform.endpoint("chat")).status
        accepted = find_condition(status.conditions, "Accepted") if status else None
        return accepted is not None and accepted.reason == "ConfigurationRejected"

    await eventually(rejected, what="the condition")
    assert {engine.port} == set(await spread(platform, "chat", 20))
    status = (await platform.endpoint("chat")).status
    assert status is not None
    ready = find_condition(status.conditions, "Ready")
    assert ready is not None
    assert "True" == ready.status


async def test_a_changed_cluster_serves_without_a_pause(platform: Platform) -> None:
    engine = await platform.engine()
    router = await serve(platform, [engine.port])
    changed = Cluster.FromString(router.snapshot.resources(CLUSTER)["default/chat"].value)
    changed.connect_timeout.seconds = 9
    modified = await platform.stat("cluster_manager.cluster_modified")
    router.snapshot.put(CLUSTER, "default/chat", changed)

    async def in_force() -> bool:
        assert 200 == (await platform.post("chat")).status_code
        modified_again: bool = await platform.stat("cluster_manager.cluster_modified") > modified
        return modified_again and await platform.stat("cluster_manager.warming_clusters") == 0

    await eventually(in_force, within_seconds=10, what="the new cluster")
    assert {engine.port} == set(await platform.hosts("chat"))


async def test_a_deleted_endpoint_is_gone_from_envoy(platform: Platform) -> None:
    engine = await platform.engine()
    for name in ("chat", "other"):
        await platform.apply(name)
        await platform.report(name, [engine.port])
    router = await platform.router()
    await platform.envoy()
    await eventually(lambda: answers(platform, "chat"), what="the first answer")
    bucket = await platform.home.bus.bucket("arks-resources")
    await bucket.delete("arksendpoints.default.chat")
    await eventually(lambda: "default/chat" not in router.snapshot.resources(CLUSTER), what="the router forgot it")

    async def gone() -> bool:
        return bool((await platform.post("chat")).status_code == 503)

    await eventually(gone, what="503")
    assert await answers(platform, "other")


async def test_a_gateway_port_in_use_is_reported_and_served_once_it_is_free(platform: Platform) -> None:
    engine = await platform.engine()
    await platform.apply("chat")
    await platform.report("chat", [engine.port])
    other = await asyncio.start_server(lambda *_: None, "127.0.0.1", platform.settings.gateway_port)
    router = await platform.router()
    await platform.envoy()
    problems = await eventually(router.app.problems, what="a problem")
    assert problems[0].startswith("Envoy rejects listener gateway: ")
    other.close()
    await other.wait_closed()
    await eventually(lambda: not router.app.problems(), what="no problem any more")
    await eventually(lambda: answers(platform, "chat"), what="an answer")


async def test_a_decision_can_be_explained_afterwards(platform: Platform) -> None:
    engines = [await platform.engine() for _ in range(2)]
    await platform.apply("chat")
    await platform.report("chat", [engine.port for engine in engines])
    await platform.router()
    address = f"http://127.0.0.1:{platform.settings.http_port}/explain/default/chat"

    async def measured() -> Any:
        await platform.load("chat", 4.0, 4.0)
        newest = (found := (await platform.client.get(address)).json()).get("newest")
        return found if newest and newest["signalSource"] == "engine" else None

    found = await eventually(measured, what="load in the explanation")
    first = found["newest"]["candidates"][0]
    assert ("chat-0", 50_000, 4.0, 4.0) == (
        *(first["replica"], first["weight"]),
        *(first["signals"]["running"], first["signals"]["drainRatePerSecond"]),
    )
    assert "4 running, 0 waiting" in first["reason"]


async def test_an_endpoint_gets_and_loses_affinity_without_an_error(platform: Platform) -> None:
    engines = [await platform.engine() for _ in range(3)]
    await serve(platform, [engine.port for engine in engines])

    async def replicas(wanted: int) -> bool:
        return len(await spread(platform, "chat", 12)) == wanted  # every answer is 200

    await eventually(lambda: replicas(3), what="requests for all replicas")
    await platform.apply("chat", affinity={})
    await eventually(lambda: replicas(1), what="equal prompts at one replica")
    await platform.apply("chat")
    await eventually(lambda: replicas(3), what="requests for all replicas again")
