"""endpoint-router: wiring."""

import asyncio

from arks.contracts.resources.endpoint import ArksEndpoint
from arks.contracts.subjects import Facts
from arks.endpoint_router.adapters.envoy import GatewaySettings
from arks.endpoint_router.adapters.envoy_config import EnvoyGateway
from arks.endpoint_router.adapters.local import wiring as local
from arks.endpoint_router.adapters.metrics import DecisionCollector
from arks.endpoint_router.adapters.xds import AdsServer, World
from arks.endpoint_router.api.explain import routes
from arks.endpoint_router.config import Settings
from arks.endpoint_router.service.router import Attachments, EndpointRouter
from arks.events.v1.facts_pb2 import EndpointFact, ReplicasFact
from arks.kit.app import App
from arks.kit.home import Home
from arks.kit.reconcile import Controller
from arks.kit.start import home_from_environment

TICK_SECONDS = 0.5


def build(settings: Settings, home: Home, world: World | None = None) -> App:
    """The whole service on the given home. `world`: what Envoys are told, for a test that looks at it."""
    world = world or World()

    def refused(type_: str, name: str, node: str, message: str) -> None:
        if not gateway.refused(type_, name, message):
            router.refused(name, f"{message} (Envoy {node})")

    server = AdsServer(
        world, f"{settings.xds_host}:{settings.xds_port}", registry=home.registry, clock=home.clock, on_refused=refused
    )
    gateway = EnvoyGateway(world, server.open)
    gateway.serve(_gateway_settings(settings), settings.token_quota_host, settings.token_quota_port)
    router = EndpointRouter(
        endpoints=home.resources(ArksEndpoint),
        replicas=home.facts(Facts.REPLICAS, ReplicasFact).cache,
        facts=home.fact_writer(Facts.ENDPOINTS, EndpointFact),
        gateway=gateway,
        publish=home.bus.publish_event,
        clock=home.clock,
        hold_seconds=settings.hold_seconds,
        attachments=_attachments(settings, home),
    )
    controller = Controller("endpoints", router.reconcile, clock=home.clock)
    router.tell_with(controller.enqueue)
    home.registry.register(DecisionCollector(router))

    async def listen() -> None:
        await server.start()
        await home.bus.subscribe_load(router.take_load)

    async def follow() -> None:
        await home.synced()
        router.begin()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            router.tick()
            gateway.tick(home.clock.monotonic())

    return App(
        "endpoint-router",
        home,
        controllers=[controller],
        tasks=[follow],
        starts=[listen],
        stops=[server.stop],
        problems=[gateway.problem],
        routes=routes(router),
    )


def _gateway_settings(settings: Settings) -> GatewaySettings:
    return GatewaySettings(
        str(settings.usage_log),
        settings.gateway_host,
        settings.gateway_port,
        certificate_source=settings.gateway_certificate_source,
    )


def _attachments(settings: Settings, home: Home) -> Attachments | None:
    if settings.platform == "kubernetes":
        from arks.endpoint_router.adapters.kubernetes import wiring  # noqa: PLC0415  # its client costs 70 MB

        return wiring.attachments(settings, home)
    return local.attachments(settings)


if __name__ == "__main__":
    from_environment = Settings()
    build(from_environment, home_from_environment("endpoint-router", from_environment)).run()
