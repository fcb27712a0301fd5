"""Wire endpoint-router together and run it."""

import asyncio
from functools import partial

from arks.contracts.gateway_token import TokenGate
from arks.contracts.resources import ArksEndpoint
from arks.contracts.subjects import Facts
from arks.endpoint_router.adapters.demand import subscribe_demand
from arks.endpoint_router.adapters.envoy import GatewaySettings, TraceSettings, token_quota_cluster
from arks.endpoint_router.adapters.envoy.messages import Cluster
from arks.endpoint_router.adapters.envoy_config import SnapshotEnvoyConfig
from arks.endpoint_router.adapters.load_reports import LoadInbox
from arks.endpoint_router.adapters.local import wiring as local
from arks.endpoint_router.adapters.metrics import DecisionCollector
from arks.endpoint_router.adapters.usage import subscribe_usage
from arks.endpoint_router.adapters.xds import ConfigSnapshot, OnRejected, XdsServer
from arks.endpoint_router.api.explain import routes
from arks.endpoint_router.config import Settings
from arks.endpoint_router.service.ports import Attachments
from arks.endpoint_router.service.router import EndpointRouter
from arks.endpoint_router.service.slices import in_slices
from arks.events.v1.facts_pb2 import EndpointFact, ReplicasFact
from arks.kit.app import App
from arks.kit.home import Home
from arks.kit.ports import authority
from arks.kit.process import collect_rarely
from arks.kit.reconcile import Controller, FirstPass
from arks.kit.resource_events import ResourceEvents
from arks.kit.settings import read_secret
from arks.kit.start import home_from_environment
from arks.kit.tracing import traces_address

TICK_SECONDS = 0.5


def build(settings: Settings, home: Home, snapshot: ConfigSnapshot | None = None) -> App:
    """Return the whole service on the given home. `snapshot`: for tests that inspect Envoy's configuration."""
    snapshot = snapshot or ConfigSnapshot()

    def handle_rejection(type_: str, name: str, node: str, message: str) -> None:
        if not envoy.handle_rejection(type_, name, message):
            router.handle_rejection(name, f"{message} (Envoy {node})")

    server = _xds_server(settings, home, snapshot, handle_rejection)
    envoy = SnapshotEnvoyConfig(snapshot, server.open)
    envoy.set_gateway(_gateway_settings(settings), _token_quota(settings))
    endpoints = home.resources(ArksEndpoint)
    facts = home.fact_writer(Facts.ENDPOINTS, EndpointFact)
    attachments = _attachments(settings, home)
    router = EndpointRouter(
        endpoints=endpoints,
        replicas=home.facts(Facts.REPLICAS, ReplicasFact).cache,
        facts=facts,
        envoy=envoy,
        events=ResourceEvents(home.outbox),
        clock=home.clock,
        hold_seconds=settings.hold_seconds,
        attachments=attachments,
    )
    first_pass = FirstPass(existing=endpoints.cache.existing, done=facts.complete, keep=facts.keep)
    controller = Controller("endpoints", router.reconcile, clock=home.clock, tracer=home.tracer, first_pass=first_pass)
    router.connect(controller.enqueue)
    home.registry.register(DecisionCollector(router))
    loads = LoadInbox(home.bus, router.handle_load, home.clock)

    async def listen() -> None:
        await server.start()
        await loads.start()
        await subscribe_demand(home.bus, router.handle_demand)
        await subscribe_usage(home.bus, lambda: router.counts_requests, router.handle_request)

    return App(
        "endpoint-router",
        home,
        controllers=[controller],
        tasks=[
            partial(_follow, home, router, envoy),
            loads.run,
            *(attachments.tasks if attachments is not None else []),
        ],
        starts=[listen],
        stops=[server.stop],
        problems=[envoy.problem],
        routes=routes(router, TokenGate(read_secret(settings.operator_token_file))),
    )


def _xds_server(settings: Settings, home: Home, snapshot: ConfigSnapshot, on_rejected: OnRejected) -> XdsServer:
    return XdsServer(
        snapshot,
        f"unix:{settings.xds_socket}" if settings.xds_socket else authority(settings.xds_host, settings.xds_port),
        registry=home.registry,
        clock=home.clock,
        on_rejected=on_rejected,
        gate=TokenGate(read_secret(settings.gateway_token_file), settings.gateway_token_required),
    )


async def _follow(home: Home, router: EndpointRouter, envoy: SnapshotEnvoyConfig) -> None:
    """Decide anew while time passes, and push to Envoys what is due."""
    await home.synced()
    router.start()
    collect_rarely()  # else a full collection visits the program, and what was read of all endpoints, for 0.1 s
    while True:
        await asyncio.sleep(TICK_SECONDS)
        await in_slices(router.tick_steps())
        envoy.push_limits()
        envoy.retry_rejected(home.clock.monotonic())


def _gateway_settings(settings: Settings) -> GatewaySettings:
    long_body_bytes = settings.gateway_long_body_bytes
    return GatewaySettings(
        str(settings.usage_log),
        settings.gateway_host,
        settings.gateway_port,
        certificate_source=settings.gateway_certificate_source,
        cors_origins=tuple(filter(None, settings.gateway_cors_origins.split(","))),
        trusted_hops=settings.gateway_trusted_hops,
        failures_per_second=settings.gateway_failures_per_second,
        connections_per_address=settings.gateway_connections_per_address,
        long_body_bytes=settings.envoy_heap_bytes // 4 if long_body_bytes is None else long_body_bytes,
        stream_first_byte_seconds=settings.stream_first_byte_seconds,
        traces=_traces(settings),
    )


def _traces(settings: Settings) -> TraceSettings | None:
    if not settings.otlp_endpoint:
        return None
    address = traces_address(settings.otlp_endpoint)
    return TraceSettings(address, settings.trace_sampling_percent, settings.trace_follow_clients)


def _token_quota(settings: Settings) -> Cluster:
    socket = str(settings.token_quota_socket) if settings.token_quota_socket else None
    return token_quota_cluster(settings.token_quota_host, settings.token_quota_port, socket)


def _attachments(settings: Settings, home: Home) -> Attachments | None:
    if home.kube is None:
        return local.attachments(settings)
    from arks.endpoint_router.adapters.kubernetes import wiring  # noqa: PLC0415  # its client costs 70 MB

    return wiring.attachments(settings, home.kube)


if __name__ == "__main__":
    from_environment = Settings()
    build(from_environment, home_from_environment("endpoint-router", from_environment)).run()
