"""Access to a running Arks over NATS: resources, facts, load reports and events.

A user waits for each query, so it is answered within a few seconds or fails with a message.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry

from arks.contracts.api_key import hash_key
from arks.contracts.resources import ArksToken, Resource, Secret
from arks.kit.bus import Bus
from arks.kit.errors import Invalid
from arks.kit.key import Key
from arks.kit.resources import Applied, LocalResources
from arks.kit.secrets import LocalSecrets
from arks.kit.settings import Settings
from arks.kit.tasks import cancel
from arks.local.client.bus_reader import BusReader, started, synced
from arks.local.files.paths import Paths
from arks.local.plan.addresses import HOST

R = TypeVar("R", bound=Resource)


class Store(BusReader):
    """A connection to a running Arks, created by `connect`."""

    def __init__(self, bus: Bus, paths: Paths) -> None:
        super().__init__(bus)
        self._paths = paths
        self._secrets = LocalSecrets(paths.secrets)

    # --- resources

    async def list(self, kind: type[Resource]) -> list[dict[str, Any]]:
        """All resources of a kind as plain data, sorted by namespace and name. Raises Unavailable."""
        if kind is Secret:
            return [await self._secret(key) for key in await self._secrets.keys()]
        async with self._watched(kind) as resources:
            found = sorted(resources.cache.items())
        return [_plain(resource) for _, resource in found]

    async def read(self, kind: type[Resource], key: Key) -> dict[str, Any] | None:
        """One resource as plain data; None if it does not exist. Raises Unavailable."""
        if kind is Secret:
            return await self._secret(key) if key in await self._secrets.keys() else None
        found = await LocalResources(self._bus, kind).read(key)
        return None if found is None else _plain(found)

    async def changes(self, kind: type[Resource]) -> AsyncIterator[tuple[Key, dict[str, Any] | None]]:
        """Yield all resources of a kind, then each change, without end. None: the resource was deleted."""
        queue: asyncio.Queue[Key] = asyncio.Queue()
        async with self._watched(kind) as resources:
            resources.cache.subscribe(queue.put_nowait)
            while True:
                key = await queue.get()
                found = resources.cache.get(key)
                yield key, None if found is None else _plain(found)

    async def apply(self, resource: Resource) -> Applied:
        """Create or update a resource; keys of tokens are hashed first. Raises Unavailable, Conflict, OSError."""
        key = Key(resource.namespace, resource.name)
        if isinstance(resource, Secret):
            return await self._write_secret(key, resource)
        if isinstance(resource, ArksToken):
            resource = hashed(resource, self._paths.pepper.read_bytes().strip())
        return await LocalResources(self._bus, type(resource)).apply(resource)

    def as_stored(self, resource: Resource) -> dict[str, Any]:
        """A resource as plain data as `apply` would store it: keys of tokens as hashes, without values of Secrets."""
        if isinstance(resource, ArksToken):
            resource = hashed(resource, self._paths.pepper.read_bytes().strip())
        return _plain(resource)

    async def delete(self, kind: type[Resource], key: Key) -> bool:
        """Delete a resource; False if it does not exist. Raises Unavailable, Conflict."""
        if kind is Secret:
            return await self._secrets.delete(key)
        return await LocalResources(self._bus, kind).delete(key)

    @asynccontextmanager
    async def _watched(self, kind: type[R]) -> AsyncIterator[LocalResources[R]]:
        resources = LocalResources(self._bus, kind)
        run = asyncio.create_task(resources.run())
        try:
            await synced(resources.cache.synced, kind.plural)
            yield resources
        finally:
            await cancel(run)

    async def _secret(self, key: Key) -> dict[str, Any]:
        """A Secret as plain data: its name and its number of values, never a value."""
        values = await self._values(key) or {}
        metadata = {"name": key.name, "namespace": key.namespace}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "keys": len(values)}

    async def _write_secret(self, key: Key, secret: Secret) -> Applied:
        existed, before = key in await self._secrets.keys(), await self._values(key)
        await self._secrets.write(key, encoded(secret))
        if not existed:
            return Applied.CREATED
        return Applied.UNCHANGED if before is not None and before == await self._values(key) else Applied.CONFIGURED

    async def _values(self, key: Key) -> Mapping[str, bytes] | None:
        """The values of a Secret; None if it does not exist or a value is not base64."""
        try:
            return await self._secrets.read(key)
        except Invalid:
            return None


@asynccontextmanager
async def connect(paths: Paths, nats_port: int) -> AsyncIterator[Store]:
    """Connect to NATS. Raises Unavailable if it does not answer in time."""
    settings = Settings.model_construct(  # the environment is for services
        nats_url=f"nats://{HOST}:{nats_port}",
        nats_token_file=paths.nats_token,
        state_dir=paths.home,
    )
    bus = Bus("cli", settings, CollectorRegistry())
    async with started(bus, f"NATS at port {nats_port} does not answer; see `arks status` and `arks logs nats`"):
        yield Store(bus, paths)


def hashed(token: ArksToken, pepper: bytes) -> ArksToken:
    """The token with hashes in place of its keys: a key is never stored."""
    data = token.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True, context={"reveal": True})
    for source in (data["spec"], *data["spec"].get("previous", [])):
        if (key := source.pop("token", None)) is not None:
            source["tokenHash"] = hash_key(pepper, key)
    return ArksToken.from_dict(data)


def encoded(secret: Secret) -> dict[str, str]:
    """All values of the Secret in base64 without line breaks; `stringData` wins over `data`."""
    data = {name: "".join(value.get_secret_value().split()) for name, value in secret.data.items()}
    clear = {name: value.get_secret_value().encode() for name, value in secret.string_data.items()}
    return data | {name: base64.b64encode(value).decode() for name, value in clear.items()}


def _plain(resource: Resource) -> dict[str, Any]:
    return resource.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
