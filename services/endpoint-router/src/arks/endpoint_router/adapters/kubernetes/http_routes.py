"""Write HTTPRoutes for endpoints with a `gatewayRef`, without taking over a route that has another owner.

Routes are read by name, without list or watch: the service needs no permission to see routes that are not its own.
"""

import contextlib
from collections.abc import Callable, Collection

from arks.contracts.conditions import find_condition
from arks.contracts.resources import ArksEndpoint
from arks.endpoint_router.adapters.kubernetes.selected_routes import SelectedRoutes
from arks.endpoint_router.domain import http_route
from arks.endpoint_router.domain.http_route import Attachment, EnvoyService
from arks.kit.clock import Clock
from arks.kit.errors import Conflict, Invalid, NotFound
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.comparison import contains
from arks.kit.kube.kinds import Kind
from arks.kit.types import AsyncCallable

HTTP_ROUTE = Kind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes")


class HttpRoutes:
    def __init__(
        self,
        api: KubeApi,
        envoy: EnvoyService,
        namespaces: Collection[str],
        clock: Clock,
        selected: SelectedRoutes | None = None,
    ) -> None:
        """`namespaces`, `selected`: those in which endpoints may have a route. `envoy`: where routes lead to."""
        self._api = api
        self._envoy = envoy
        self._namespaces = frozenset(namespaces)
        self._clock = clock
        self._selected = selected
        self._checked: dict[Key, tuple[ArksEndpoint, Attachment, float]] = {}
        """By endpoint: the endpoint as it was, the result, and until when it holds (monotonic seconds)."""

    async def reconcile(self, endpoint: ArksEndpoint) -> Attachment | None:
        """Make the route match the endpoint's spec. None if the endpoint has no route here.

        Raises Unavailable, and Conflict if another writer changed the route at the same moment.
        """
        key, now = Key(endpoint.namespace, endpoint.name), self._clock.monotonic()
        if not self._allows(key.namespace):
            if self._selected is not None:
                self.forget(key)
                await self._delete_route(key, endpoint)
            return None
        if endpoint.spec.gateway_ref is None:
            self.forget(key)
            await self._delete_route(key, endpoint)
            return None
        checked = self._checked.get(key)
        if checked is not None and _same(checked[0], endpoint) and now < checked[2]:
            return checked[1]
        try:
            await self._grant(key.namespace)
            attachment = await self._write_route(key, endpoint)
        except Invalid as error:
            attachment = http_route.rejected_by_api_server(error)
        self._checked[key] = (endpoint, attachment, now + attachment.recheck_seconds)
        return attachment

    def forget(self, key: Key) -> None:
        self._checked.pop(key, None)

    def subscribe(self, changed: Callable[[str], None]) -> None:
        if self._selected is not None:
            self._selected.subscribe(changed)

    @property
    def tasks(self) -> list[AsyncCallable]:
        return [] if self._selected is None else [self._selected.run]

    def _allows(self, namespace: str) -> bool:
        return namespace in self._namespaces or (self._selected is not None and self._selected.allows(namespace))

    async def _grant(self, namespace: str) -> None:
        """The chart grants those that the operator named."""
        if self._selected is None or namespace in self._namespaces:
            return
        with contextlib.suppress(NotFound):  # without Gateway API, which the route itself reports
            await self._selected.grant(namespace)

    async def _write_route(self, key: Key, endpoint: ArksEndpoint) -> Attachment:
        desired = http_route.http_route(endpoint, self._envoy)
        found = await self._api.get(HTTP_ROUTE, key)
        if found is None:
            try:
                found = await self._api.create(HTTP_ROUTE, desired)
            except NotFound:
                return http_route.no_gateway_api()
            except Conflict:
                return http_route.owned_by_another(endpoint)
        elif not http_route.is_owned_by(found, endpoint):
            return http_route.owned_by_another(endpoint)
        elif not contains(found["spec"], desired["spec"]):
            version = {"resourceVersion": found["metadata"]["resourceVersion"]}
            found = await self._api.merge(HTTP_ROUTE, key, {"metadata": version, "spec": desired["spec"]})
        return http_route.attachment_of(found, endpoint)

    async def _delete_route(self, key: Key, endpoint: ArksEndpoint) -> None:
        """Delete the route of an endpoint whose status shows that it had one."""
        if endpoint.status is None or find_condition(endpoint.status.conditions, http_route.CONDITION) is None:
            return
        found = await self._api.get(HTTP_ROUTE, key)
        if found is not None and http_route.is_owned_by(found, endpoint):
            await self._api.delete(HTTP_ROUTE, key, uid=found["metadata"]["uid"])


def _same(before: ArksEndpoint, now: ArksEndpoint) -> bool:
    return (before.metadata.uid, before.spec) == (now.metadata.uid, now.spec)
