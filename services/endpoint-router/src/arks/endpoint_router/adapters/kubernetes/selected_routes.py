"""Namespaces that a label selector allows HTTPRoutes, and the ReferenceGrants that let these lead to Envoy.

A ReferenceGrant names its namespaces, so the chart cannot write those of a selector.
"""

import asyncio
from collections.abc import Callable

import structlog

from arks.endpoint_router.domain import http_route
from arks.endpoint_router.domain.http_route import EnvoyService
from arks.kit.backoff import Backoff
from arks.kit.cache import Cache
from arks.kit.errors import ArksError, Conflict, NotFound
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import Kind
from arks.kit.types import AsyncCallable

log = structlog.get_logger(__name__)

REFERENCE_GRANT = Kind("gateway.networking.k8s.io", "v1beta1", "ReferenceGrant", "referencegrants")
SERVICE = Kind("", "v1", "Service", "services")


class SelectedRoutes:
    """`namespaces`: those that the selector matches, as keys without a namespace. `leading`: returns once elected."""

    def __init__(self, api: KubeApi, envoy: EnvoyService, namespaces: Cache[bool], leading: AsyncCallable) -> None:
        self._api = api
        self._envoy = envoy
        self._namespaces = namespaces
        self._leading = leading
        self._changed = asyncio.Event()
        self._backoff = Backoff(first_seconds=0.5, longest_seconds=30.0)
        namespaces.subscribe(lambda key: self._changed.set())

    def subscribe(self, changed: Callable[[str], None]) -> None:
        self._namespaces.subscribe(lambda key: changed(key.name))

    def allows(self, namespace: str) -> bool:
        return self._namespaces.exists(Key("", namespace))

    async def grant(self, namespace: str) -> None:
        """Make sure that routes of the namespace may lead to Envoy. Raises ArksError."""
        if await self._api.get(REFERENCE_GRANT, self._key(namespace)) is not None:
            return
        service = await self._api.get(SERVICE, Key(self._envoy.namespace, self._envoy.name))
        try:
            await self._api.create(REFERENCE_GRANT, http_route.reference_grant(namespace, self._envoy, service))
        except Conflict:
            return

    async def run(self) -> None:
        """Delete the grants of namespaces that are no longer selected."""
        await self._namespaces.synced.wait()
        await self._leading()
        failures = 0
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._sweep()
                failures = 0
            except ArksError as error:
                failures += 1
                log.warning("old grants of routes not deleted", error=str(error))
                await asyncio.sleep(self._backoff.delay_seconds(failures))
                self._changed.set()

    async def _sweep(self) -> None:
        selector = ",".join(f"{name}={value}" for name, value in http_route.GRANT_LABELS.items())
        try:
            granted, _ = await self._api.list(REFERENCE_GRANT, self._envoy.namespace, selector)
        except NotFound:  # no Gateway API, so no grants
            return
        for grant in granted:
            for peer in grant["spec"]["from"]:
                if not self.allows(peer["namespace"]):
                    await self._api.delete(REFERENCE_GRANT, self._key(peer["namespace"]))

    def _key(self, namespace: str) -> Key:
        return Key(self._envoy.namespace, http_route.grant_name(namespace, self._envoy))
