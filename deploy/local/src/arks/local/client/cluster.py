"""Access to an Arks on Kubernetes with the rights of a person: resources at the API server, all else by port-forwards.

It has the methods of `store` for resources. What only operators may read needs a Secret of the release.
"""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from arks.contracts.resources import Resource
from arks.kit.bus import Bus
from arks.kit.errors import Unavailable
from arks.kit.key import Key
from arks.kit.kube.access import Access
from arks.kit.kube.api import Gone, KubeApi, key_of_object
from arks.kit.kube.kinds import POD, SECRET
from arks.kit.kube.resources import kind_of
from arks.kit.resources import Applied
from arks.kit.settings import Settings
from arks.local.client.bus_reader import BusReader, started
from arks.local.client.port_forward import PROTOCOL, Forwarder, close_stream
from arks.local.client.release import labels_of, port_of, ready_pod, secret_key_of, value_in

Object = dict[str, Any]
_FIELD_MANAGER = "arks-cli"
_SECRETS_OF = "token-quota"
"""The component whose pods have all secrets that operators need."""


class Cluster:
    """A connection to an API server, created by `connect_cluster`.

    `namespace`: whose resources are read; None: all. `release_namespace`: where Arks runs.
    """

    def __init__(self, api: KubeApi, namespace: str | None, release_namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._release_namespace = release_namespace

    # --- resources

    async def list(self, kind: type[Resource]) -> list[Object]:
        """All resources of a kind, sorted by namespace and name. Raises ArksError."""
        items, _ = await self._api.list(kind_of(kind), self._namespace)
        found = [_plain(kind, item) for item in items]
        return sorted(found, key=lambda item: (item["metadata"]["namespace"], item["metadata"]["name"]))

    async def read(self, kind: type[Resource], key: Key) -> Object | None:
        """One resource; None if it does not exist. Raises ArksError."""
        found = await self._api.get(kind_of(kind), key)
        return None if found is None else _plain(kind, found)

    async def changes(self, kind: type[Resource]) -> AsyncIterator[tuple[Key, Object | None]]:
        """Yield all resources of a kind, then each change, without end. None: the resource was deleted."""
        versions: dict[Key, str] = {}
        while True:
            items, version = await self._api.list(kind_of(kind), self._namespace)
            for key in versions.keys() - {key_of_object(item) for item in items}:
                del versions[key]
                yield key, None
            for item in items:
                if versions.get(key_of_object(item)) != item["metadata"]["resourceVersion"]:
                    versions[key_of_object(item)] = item["metadata"]["resourceVersion"]
                    yield key_of_object(item), _plain(kind, item)
            try:
                async for change, item in self._api.watch(kind_of(kind), self._namespace, version):
                    if change == "BOOKMARK":
                        continue
                    key = key_of_object(item)
                    if change == "DELETED":
                        versions.pop(key, None)
                    else:
                        versions[key] = item["metadata"]["resourceVersion"]
                    yield key, None if change == "DELETED" else _plain(kind, item)
            except Gone:
                continue

    async def apply(self, resource: Resource) -> Applied:
        """Create the resource, or replace its spec if it has not changed since it was read. Raises ArksError."""
        desired = resource.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
        desired["metadata"].pop("resourceVersion", None)
        kind, version = kind_of(type(resource)), resource.metadata.resource_version
        if not version:
            await self._api.create(kind, desired)
            return Applied.CREATED
        steps = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "replace", "path": "/spec", "value": desired["spec"]},
        ]
        await self._api.json_patch(kind, Key(resource.namespace, resource.name), steps)
        return Applied.CONFIGURED

    # --- what the release has

    async def secret(self, file: str) -> str:
        """A secret of the release by the name of its file in token-quota's pods. Raises ArksError."""
        pod = await self._pod(_SECRETS_OF)
        where = secret_key_of(pod, file)
        if where is None:
            raise Unavailable(f"this release has no {file}: it uses a server of its own with other credentials")
        secret = await self._api.get(SECRET, Key(self._release_namespace, where.secret))
        value = value_in(secret or {}, where.key)
        if value is None:
            raise Unavailable(f"Secret {self._release_namespace}/{where.secret} has no key {where.key}")
        return value

    async def has_port(self, component: str, port: str) -> bool:
        """Whether a ready pod of the component has a port of that name. Raises ArksError."""
        return port_of(await self._pod(component), port) is not None

    @asynccontextmanager
    async def forwarded(self, component: str, port: str) -> AsyncIterator[int]:
        """A port of loopback that is forwarded to a named port of a ready pod of the component. Raises ArksError."""
        pod = await self._pod(component)
        number = port_of(pod, port)
        if number is None:
            raise Unavailable(f"Pod {key_of_object(pod)} has no port {port}")
        path = POD.path(self._release_namespace, pod["metadata"]["name"], "portforward")
        open_stream = partial(self._api.websocket, path, {"ports": str(number)}, PROTOCOL)
        await close_stream(await open_stream())  # a missing right is an error here, not a closed connection later
        async with Forwarder(open_stream).listening() as local_port:
            yield local_port

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[BusReader]:
        """What services publish. Raises ArksError."""
        token = await self.secret("nats-token")
        async with self.forwarded("nats", "nats") as port:
            with tempfile.TemporaryDirectory() as directory:
                file = Path(directory) / "nats-token"
                file.touch(mode=0o600)
                file.write_text(token)
                settings = Settings.model_construct(nats_url=f"nats://127.0.0.1:{port}", nats_token_file=file)
                bus = Bus("cli", settings, CollectorRegistry(), creates_streams=False)
                async with started(bus, "NATS does not answer through the port-forward"):
                    yield BusReader(bus)

    async def _pod(self, component: str) -> Object:
        pods, _ = await self._api.list(POD, self._release_namespace, labels_of(component))
        pod = ready_pod(pods)
        if pod is None:
            raise Unavailable(f"there is no ready pod of Arks' {component} in namespace {self._release_namespace}")
        return pod


@asynccontextmanager
async def connect_cluster(access: Access, namespace: str | None, release_namespace: str) -> AsyncIterator[Cluster]:
    """Connect to the API server. Raises Unavailable."""
    api = KubeApi(_FIELD_MANAGER, CollectorRegistry(), access=access)
    await api.start()
    try:
        yield Cluster(api, namespace, release_namespace)
    finally:
        await api.stop()


def _plain(kind: type[Resource], item: Object) -> Object:
    """As `arks get -o yaml` prints it: with the kind, which lists leave out, and without managedFields."""
    metadata = {name: value for name, value in item["metadata"].items() if name != "managedFields"}
    api_version = f"{kind.group}/{kind.version}"
    return {"apiVersion": api_version, "kind": kind.__name__} | item | {"metadata": metadata}
