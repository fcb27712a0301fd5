"""HTTPRoutes at the API server: written for endpoints with a `gatewayRef`, and never taken from anybody.

They are read one by one, by name: no list or watch on what others may own. A module of its own, because the client of
the API server costs 70 MB that one machine does not pay for.
"""

from collections.abc import Collection

from arks.contracts.conditions import find_condition
from arks.contracts.resources.endpoint import ArksEndpoint
from arks.endpoint_router.domain import http_route as attach
from arks.endpoint_router.domain.http_route import Attachment, Backend
from arks.kit.clock import Clock
from arks.kit.errors import Conflict, Invalid, NotFound
from arks.kit.kube.api import Kind, KubeApi
from arks.kit.reconcile import Key

HTTP_ROUTE = Kind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes")


class HttpRoutes:
    def __init__(self, api: KubeApi, backend: Backend, namespaces: Collection[str], clock: Clock) -> None:
        self._api = api
        self._backend = backend
        self._namespaces = frozenset(namespaces)
        self._clock = clock
        self._known: dict[Key, tuple[ArksEndpoint, Attachment, float]] = {}
        """By endpoint: as it was looked at, what was found, and until when (monotonic) that is believed."""

    async def keep(self, endpoint: ArksEndpoint) -> Attachment | None:
        """Make the route what the endpoint says. None: it asks for none here. Raises Unavailable, and Conflict when
        somebody changed the route at the same moment.
        """
        key, now = Key(endpoint.namespace, endpoint.name), self._clock.monotonic()
        if key.namespace not in self._namespaces:
            return None
        if endpoint.spec.gateway_ref is None:
            self.forget(key)
            await self._take_away(key, endpoint)
            return None
        known = self._known.get(key)
        if known is not None and _same(known[0], endpoint) and now < known[2]:
            return known[1]
        try:
            attachment = await self._settle(key, endpoint)
        except Invalid as error:
            attachment = attach.refused(error)
        self._known[key] = (endpoint, attachment, now + attachment.look_again_seconds)
        return attachment

    def forget(self, key: Key) -> None:
        self._known.pop(key, None)

    async def _settle(self, key: Key, endpoint: ArksEndpoint) -> Attachment:
        wanted = attach.http_route(endpoint, self._backend)
        found = await self._api.get(HTTP_ROUTE, key)
        if found is None:
            try:
                found = await self._api.create(HTTP_ROUTE, wanted)
            except NotFound:
                return attach.no_gateway_api()
            except Conflict:
                return attach.of_another(endpoint)
        elif not attach.is_of(found, endpoint):
            return attach.of_another(endpoint)
        elif not attach.says(found["spec"], wanted["spec"]):
            version = {"resourceVersion": found["metadata"]["resourceVersion"]}
            found = await self._api.merge(HTTP_ROUTE, key, {"metadata": version, "spec": wanted["spec"]})
        return attach.written(found, endpoint)

    async def _take_away(self, key: Key, endpoint: ArksEndpoint) -> None:
        """The route of an endpoint that had one, as its status says."""
        if endpoint.status is None or find_condition(endpoint.status.conditions, attach.CONDITION) is None:
            return
        found = await self._api.get(HTTP_ROUTE, key)
        if found is not None and attach.is_of(found, endpoint):
            await self._api.delete(HTTP_ROUTE, key)


def _same(before: ArksEndpoint, now: ArksEndpoint) -> bool:
    return (before.metadata.uid, before.spec) == (now.metadata.uid, now.spec)
