"""Serves /healthz, /readyz, /metrics and the routes that a service adds, by default on loopback."""

from collections.abc import Callable, Sequence

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from arks.kit.ports import listening_socket

log = structlog.get_logger(__name__)

Problems = Callable[[], list[str]]
"""Returns the reasons why the service is not ready; an empty list if it is."""


class HealthServer:
    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        problems: Problems,
        *,
        routes: Sequence[web.RouteDef] = (),
    ) -> None:
        """`routes`: further routes that the service serves on this port."""
        self._host = host
        self._port = port
        self._registry = registry
        self._problems = problems
        application = web.Application()
        application.add_routes(
            [web.get("/healthz", self._healthz), web.get("/readyz", self._readyz), web.get("/metrics", self._metrics)]
        )
        application.add_routes(routes)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)

    async def start(self) -> int:
        """Start to listen and return the port. Raises OSError if the port is in use."""
        await self._runner.setup()
        await web.SockSite(self._runner, listening_socket(self._host, self._port)).start()
        port = int(self._runner.addresses[0][1])
        log.info("health server listens", host=self._host, port=port)
        return port

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        problems = self._problems()
        return web.Response(status=503 if problems else 200, text="\n".join(problems or ["ok"]) + "\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), content_type="text/plain", charset="utf-8")
