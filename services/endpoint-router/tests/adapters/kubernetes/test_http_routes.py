"""Endpoints with a `gatewayRef` on a real API server: the whole service, with the permissions that the chart grants."""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from prometheus_client import CollectorRegistry

from arks.contracts.conditions import find_condition
from arks.contracts.resources import ArksEndpoint, Condition
from arks.endpoint_router.adapters.kubernetes.http_routes import HTTP_ROUTE
from arks.endpoint_router.adapters.kubernetes.selected_routes import REFERENCE_GRANT
from arks.endpoint_router.config import Settings
from arks.endpoint_router.domain import http_route
from arks.endpoint_router.main import build
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.home import KubeHome
from arks.kit.kube.resources import kind_of
from arks.kit.testing import run
from arks.kit.testing.kubernetes import ApiServer, api_server
from arks.kit.testing.servers import Server, nats_server
from arks.kit.testing.wait import eventually
from arks.kit.types import Json

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
CRDS = Path(__file__).parents[5] / "charts/arks-crds/templates"
GATEWAY_API = Path(__file__).parent / "gateway_api.yaml"
ENDPOINT = kind_of(ArksEndpoint)
NAMESPACE, ACCOUNT = "team", "endpoint-router"
GATEWAY = {"name": "arks-eg", "namespace": "arks-operator-system"}
RULES = [
    ("arks.ai", ["arksendpoints"], ["get", "list", "watch", "patch"]),
    ("arks.ai", ["arksendpoints/status"], ["patch"]),
    ("coordination.k8s.io", ["leases"], ["get", "create", "patch"]),
    ("", ["namespaces"], ["list", "watch"]),
    ("", ["services"], ["get"]),
    ("gateway.networking.k8s.io", ["referencegrants"], ["get", "list", "create", "delete"]),
    ("gateway.networking.k8s.io", ["httproutes"], ["get", "create", "patch", "delete"]),
]
_numbers = itertools.count()


@dataclass
class Team:
    """Actions of the members of a team."""

    api: KubeApi

    async def apply(self, name: str, **spec: object) -> None:
        manifest = {"apiVersion": "arks.ai/v1", "kind": "ArksEndpoint"}
        await self.api.apply(
            ENDPOINT,
            {**manifest, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"defaultWeight": 1, **spec}},
        )

    async def route(self, name: str) -> Json | None:
        return await self.api.get(HTTP_ROUTE, Key(NAMESPACE, name))

    async def condition(
        self, name: str, condition: str, wanted: Callable[[Condition | None], bool]
    ) -> Condition | None:
        """Return the condition of the endpoint once it matches."""
        last: list[Condition | None] = [None]

        async def seen() -> bool:
            found = await self.api.get(ENDPOINT, Key(NAMESPACE, name))
            status = ArksEndpoint.from_stored(found).status if found else None
            if status is None:
                return False
            last[0] = find_condition(status.conditions, condition)
            return wanted(last[0])

        await eventually(seen, within_seconds=90, what=f"{condition} of {name}")
        return last[0]

    async def attached(self, name: str, reason: str) -> Condition:
        found = await self.condition(name, "Attached", lambda found: found is not None and found.reason == reason)
        assert found is not None
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServer]:
    async with api_server(tmp_path_factory.mktemp("kube")) as server:
        for definition in (*sorted(CRDS.glob("*.yaml")), GATEWAY_API):
            await server.kubectl("apply", "--server-side", "-f", str(definition))
        await server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=90s")
        await server.kubectl("create", "namespace", NAMESPACE)
        yield server


def role(allowed: list[tuple[str, list[str], list[str]]]) -> Json:
    rules = [{"apiGroups": [group], "resources": resources, "verbs": verbs} for group, resources, verbs in allowed]
    described = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": ACCOUNT}}
    return {**described, "rules": rules}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def account(server: ApiServer) -> Path:
    """Return a kubeconfig with the permissions that the chart grants."""
    rbac, metadata = "rbac.authorization.k8s.io", {"name": ACCOUNT}
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "default"}],
    }
    subject = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {**metadata, "namespace": "default"}}
    await server.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([subject, role(RULES), binding]))
    return await server.kubeconfig_of(ACCOUNT, "default")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def team(server: ApiServer) -> AsyncIterator[Team]:
    api = KubeApi("person", CollectorRegistry(), server.kubeconfig)
    await api.start()
    yield Team(api)
    await api.stop()


@pytest.fixture
def name() -> str:
    return f"chat-{next(_numbers)}"


@asynccontextmanager
async def router(
    account: Path, bus: Server, *namespaces: str, selector: str = "", served: str = ""
) -> AsyncIterator[None]:
    """`selector`: of the namespaces with routes; `served`: of those that are served at all."""
    settings = Settings(
        platform="kubernetes",
        nats_url=f"nats://127.0.0.1:{bus.port}",
        release_namespace="default",
        watch_namespace=None if served else NAMESPACE,
        watch_namespace_selector=served or None,
        xds_port=0,
        drain_seconds=1.0,
        http_route_namespaces=",".join(namespaces),
        http_route_namespace_selector=selector,
    )
    async with run.running(build(settings, KubeHome("endpoint-router", settings, kubeconfig=account))):
        yield


@pytest_asyncio.fixture(loop_scope="module")
async def running(account: Path, bus: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    for pause in ("RECHECK_PENDING_SECONDS", "RECHECK_BLOCKED_SECONDS", "RECHECK_SETTLED_SECONDS"):
        monkeypatch.setattr(http_route, pause, 0.1)
    async with router(account, bus, NAMESPACE):
        yield


async def test_an_endpoint_gets_a_route_at_its_gateway_that_it_owns(running: None, team: Team, name: str) -> None:
    await team.apply(name, gatewayRef=GATEWAY)
    await team.attached(name, "GatewaySilent")
    route, endpoint = await team.route(name), await team.api.get(ENDPOINT, Key(NAMESPACE, name))
    assert route is not None
    assert endpoint is not None
    assert GATEWAY.items() <= route["spec"]["parentRefs"][0].items()
    (rule,) = route["spec"]["rules"]
    service = {"name": "arks-gateway", "namespace": "default", "port": 80}
    assert service.items() <= rule["backendRefs"][0].items()
    (owner,) = route["metadata"]["ownerReferences"]
    assert (endpoint["metadata"]["uid"], True) == (owner["uid"], owner["controller"])


async def test_the_conditions_of_the_gateway_are_in_the_status(running: None, team: Team, name: str) -> None:
    await team.apply(name, gatewayRef=GATEWAY)
    await team.attached(name, "GatewaySilent")
    for status, reason in (("True", "Attached"), ("False", "GatewayRefuses")):
        reported = {"type": "Accepted", "status": status, "reason": "NoMatchingParent", "message": "no such listener"}
        parent = {"parentRef": GATEWAY, "controllerName": "example.com/gateway", "conditions": [reported]}
        await team.api.merge(HTTP_ROUTE, Key(NAMESPACE, name), {"status": {"parents": [parent]}}, subresource="status")
        condition = await team.attached(name, reason)
        assert status == condition.status
    assert "Gateway arks-eg: NoMatchingParent: no such listener" == condition.message


async def test_a_route_with_another_owner_is_not_changed(running: None, team: Team, name: str) -> None:
    theirs: Json = {"apiVersion": HTTP_ROUTE.api_version, "kind": HTTP_ROUTE.kind}
    theirs |= {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"parentRefs": [{"name": "company"}]}}
    created = await team.api.create(HTTP_ROUTE, theirs)
    await team.apply(name, gatewayRef=GATEWAY)
    await team.attached(name, "RouteOfAnother")
    assert created == await team.route(name)
    await team.api.delete(HTTP_ROUTE, Key(NAMESPACE, name))
    await team.attached(name, "GatewaySilent")


async def test_a_route_follows_its_endpoint_and_foreign_changes_are_reverted(
    running: None, team: Team, name: str
) -> None:
    await team.apply(name, gatewayRef=GATEWAY)
    await team.attached(name, "GatewaySilent")

    async def leads_to(gateway: str, prefix: str) -> bool:
        route = await team.route(name)
        if route is None:
            return False
        found = (route["spec"]["parentRefs"][0]["name"], route["spec"]["rules"][0]["matches"][0]["path"]["value"])
        return found == (gateway, prefix)

    await team.apply(
        name, gatewayRef={"name": "other"}, matchConfigs=[{"path": {"type": "PathPrefix", "value": "/v1"}}]
    )
    await eventually(lambda: leads_to("other", "/v1"), what="the new route")
    await team.api.merge(HTTP_ROUTE, Key(NAMESPACE, name), {"spec": {"parentRefs": [{"name": "astray"}]}})
    await eventually(lambda: leads_to("other", "/v1"), what="the route is restored")
    await team.api.delete(HTTP_ROUTE, Key(NAMESPACE, name))
    await eventually(lambda: leads_to("other", "/v1"), what="the route is made again")


async def test_without_a_gateway_ref_route_and_condition_are_removed(running: None, team: Team, name: str) -> None:
    await team.apply(name, gatewayRef=GATEWAY)
    await team.attached(name, "GatewaySilent")
    await team.apply(name)
    await team.condition(name, "Attached", lambda found: found is None)
    assert None is await team.route(name)


async def test_a_route_that_the_api_server_rejects_is_reported(
    running: None, team: Team, name: str, server: ApiServer
) -> None:
    await server.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(role(RULES[:-1])))
    try:
        await team.apply(name, gatewayRef=GATEWAY)
        condition = await team.attached(name, "RouteRefused")
    finally:
        await server.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(role(RULES)))
    assert 'cannot get resource "httproutes"' in condition.message
    await team.attached(name, "GatewaySilent")


async def test_in_a_namespace_without_routes_the_gateway_ref_is_reported_as_without_effect(
    account: Path, bus: Server, team: Team, name: str
) -> None:
    async with router(account, bus, "another-team"):
        await team.apply(name, gatewayRef=GATEWAY)
        accepted = await team.condition(name, "Accepted", lambda found: found is not None)
    assert accepted is not None
    assert ("True", "gatewayRef has no effect here: Arks' own Envoy serves the endpoint") == (
        accepted.status,
        accepted.message,
    )
    assert None is await team.route(name)


async def test_routes_and_grants_follow_the_labels_of_namespaces(
    account: Path, bus: Server, team: Team, name: str, server: ApiServer
) -> None:
    await server.kubectl("create", "service", "clusterip", "arks-gateway", "--tcp=80", "-n", "default")
    await team.apply(name, gatewayRef=GATEWAY)

    async def state(route: bool, granted: list[str]) -> bool:
        grants, _ = await team.api.list(REFERENCE_GRANT, "default")
        peers = [peer["namespace"] for grant in grants for peer in grant["spec"]["from"]]
        owned = all(grant["metadata"]["ownerReferences"][0]["name"] == "arks-gateway" for grant in grants)
        return owned and (route, granted) == (await team.route(name) is not None, peers)

    async with router(account, bus, selector="routes=yes"):
        await team.condition(name, "Accepted", lambda found: found is not None)
        assert await state(route=False, granted=[])
        await server.kubectl("label", "namespace", NAMESPACE, "routes=yes")
        await eventually(lambda: state(route=True, granted=[NAMESPACE]), what="route and grant of a selected namespace")
        await server.kubectl("label", "namespace", NAMESPACE, "routes-")
        await eventually(lambda: state(route=False, granted=[]), what="no route and grant without the label")
        await team.condition(name, "Attached", lambda found: found is None)


async def test_endpoints_count_only_while_the_labels_of_their_namespace_are_served(
    account: Path, bus: Server, team: Team, name: str, server: ApiServer
) -> None:
    await team.apply(name, gatewayRef=GATEWAY)
    async with router(account, bus, NAMESPACE, served="served=yes"):
        await server.kubectl("create", "namespace", "elsewhere")
        elsewhere: Json = {"metadata": {"name": name, "namespace": "elsewhere"}, "spec": {"defaultWeight": 1}}
        await team.api.create(ENDPOINT, {"apiVersion": "arks.ai/v1", "kind": "ArksEndpoint", **elsewhere})
        await server.kubectl("label", "namespace", "elsewhere", "served=yes")

        async def has_status(namespace: str) -> bool:
            found = await team.api.get(ENDPOINT, Key(namespace, name))
            return found is not None and "status" in found

        await eventually(lambda: has_status("elsewhere"), within_seconds=60, what="the status in a served namespace")
        assert not await has_status(NAMESPACE)
        assert None is await team.route(name)


async def test_an_absent_gateway_api_is_reported_until_it_is_installed(
    running: None, team: Team, name: str, server: ApiServer
) -> None:
    await server.kubectl("delete", "-f", str(GATEWAY_API))
    try:
        await team.apply(name, gatewayRef=GATEWAY)
        await team.attached(name, "NoGatewayAPI")
    finally:
        await server.kubectl("apply", "--server-side", "-f", str(GATEWAY_API))
    await team.attached(name, "GatewaySilent")
