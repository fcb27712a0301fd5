"""Serves External metrics to the API server, which has checked the caller and its rights, over mutual TLS."""

import ssl
from collections.abc import Callable, Collection
from typing import Any

import structlog
from aiohttp import web

from arks.contracts.resources import ArksAutoscaler
from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.kit.ports import listening_socket
from arks.metrics.domain.scaling import external
from arks.metrics.domain.scaling.pod_autoscaler import AUTOSCALER, WANTED

log = structlog.get_logger(__name__)

_ROOT = f"/apis/{external.GROUP}"


class ExternalMetrics:
    """`names`: common names of the certificates with which the API server may call; empty: any that its CA signed."""

    def __init__(
        self,
        autoscalers: Cache[ArksAutoscaler],
        clock: Clock,
        *,
        host: str,
        port: int,
        names: Callable[[], Collection[str]],
    ) -> None:
        self._autoscalers = autoscalers
        self._clock = clock
        self._address = host, port
        self._names = names
        application = web.Application(middlewares=[self._checked])
        application.add_routes(
            [
                web.get(_ROOT, self._group),
                web.get(f"{_ROOT}/{external.VERSION}", self._resources),
                web.get(f"{_ROOT}/{external.VERSION}/namespaces/{{namespace}}/{{metric}}", self._values),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)

    async def start(self, tls: ssl.SSLContext) -> int:
        """Start to listen and return the port. Raises OSError if the port is in use."""
        await self._runner.setup()
        await web.SockSite(self._runner, listening_socket(*self._address), ssl_context=tls).start()
        port = int(self._runner.addresses[0][1])
        log.info("external metrics API listens", port=port)
        return port

    async def stop(self) -> None:
        await self._runner.cleanup()

    @web.middleware
    async def _checked(
        self, request: web.Request, handler: Callable[[web.Request], Any]
    ) -> web.StreamResponse:  # aiohttp's own type of handlers is private
        names = self._names()
        if names and _common_name(request) not in names:
            return _refused(403, "Forbidden", "the client certificate is not that of the API server")
        try:
            answer: web.StreamResponse = await handler(request)
        except web.HTTPNotFound:
            return _refused(404, "NotFound", "the server could not find the requested resource")
        return answer

    async def _group(self, _: web.Request) -> web.Response:
        return web.json_response(external.group())

    async def _resources(self, _: web.Request) -> web.Response:
        return web.json_response(external.resources())

    async def _values(self, request: web.Request) -> web.Response:
        namespace, metric = request.match_info["namespace"], request.match_info["metric"]
        if metric != WANTED:
            return _refused(404, "NotFound", f"there is no metric {metric}, only {WANTED}")
        try:
            labels = external.selected(request.query.get("labelSelector", ""))
        except external.UnknownSelector as error:
            return _refused(400, "BadRequest", str(error))
        return web.json_response(external.values(self._of(namespace, labels), labels, self._clock.now()))

    def _of(self, namespace: str, labels: dict[str, str]) -> list[ArksAutoscaler]:
        """The autoscaler that the labels name, without a search; otherwise all of the namespace."""
        if (name := labels.get(AUTOSCALER)) is not None:
            found = self._autoscalers.get(Key(namespace, name))
            return [] if found is None else [found]
        return [autoscaler for key, autoscaler in self._autoscalers.items() if key.namespace == namespace]


def _common_name(request: web.Request) -> str:
    certificate = None if request.transport is None else request.transport.get_extra_info("peercert")
    parts = [pair for part in (certificate or {}).get("subject", ()) for pair in part]
    return next((value for name, value in parts if name == "commonName"), "")


def _refused(code: int, reason: str, message: str) -> web.Response:
    return web.json_response(external.failure(code, reason, message), status=code)
