"""Elects one leader among the replicas of a service, with a Lease.

A process that loses the lease exits, like Kubernetes' own controllers.
"""

import asyncio

import structlog

from arks.kit.clock import Clock
from arks.kit.errors import ArksError, Conflict
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import LEASE
from arks.kit.types import Json

log = structlog.get_logger(__name__)

LEASE_SECONDS = 15
RENEW_SECONDS = 5.0
GIVE_UP_SECONDS = 12.0
"""A leader that could not renew for so long exits: before others may take the lease, which they see later than it."""
_TRY_SECONDS = 2.0


def may_take(lease: Json | None, identity: str, unchanged_seconds: float) -> bool:
    """Return whether the lease has no holder, is held by `identity`, or was not renewed in time.

    `unchanged_seconds`: how long this process has seen it unchanged, by its own clock. The time that the holder wrote
    is not read, because its clock may be wrong.
    """
    if lease is None:
        return True
    spec = lease.get("spec", {})
    holder = spec.get("holderIdentity")
    if not holder or holder == identity:
        return True
    return unchanged_seconds > float(spec.get("leaseDurationSeconds", LEASE_SECONDS))


class Election:
    def __init__(self, api: KubeApi, key: Key, identity: str, clock: Clock) -> None:
        self.leading = asyncio.Event()
        self._api = api
        self._key = key
        self._identity = identity
        self._clock = clock
        self._renewed_at = 0.0
        """When the last request that renewed the lease began."""
        self._seen: Json | None = None
        self._seen_at = 0.0

    async def run(self) -> None:
        """Acquire the lease and renew it. Raises RuntimeError if it is lost after that."""
        while True:
            began = self._clock.monotonic()
            taken = await self._try()
            if taken:
                self._renewed_at = began
            elif taken is None:
                taken = self.leading.is_set() and self._clock.monotonic() - self._renewed_at < GIVE_UP_SECONDS
            if taken and not self.leading.is_set():
                log.info("leading", lease=str(self._key))
                self.leading.set()
            if not taken and self.leading.is_set():
                raise RuntimeError(f"lost the lease {self._key}")
            renewed = self._renewed_at == began
            await asyncio.sleep(RENEW_SECONDS if renewed else _TRY_SECONDS)

    async def _try(self) -> bool | None:
        """Whether the lease is ours now; None if the API server gave no answer in time."""
        remaining = GIVE_UP_SECONDS
        if self.leading.is_set():
            remaining -= self._clock.monotonic() - self._renewed_at
        try:
            async with asyncio.timeout(max(0.0, remaining)):
                return await self._take()
        except Conflict:
            return False
        except (ArksError, TimeoutError) as error:
            log.warning("lease not renewed", lease=str(self._key), error=str(error) or type(error).__name__)
            return None

    async def release(self) -> None:
        """Clear the holder, so that the next leader need not wait until the lease expires."""
        if self.leading.is_set():
            await self._api.merge(LEASE, self._key, {"spec": {"holderIdentity": None, "renewTime": None}})

    async def _take(self) -> bool:
        lease = await self._api.get(LEASE, self._key)
        monotonic = self._clock.monotonic()
        if self._seen != lease:
            self._seen, self._seen_at = lease, monotonic
        if not may_take(lease, self._identity, monotonic - self._seen_at):
            return False
        now = self._clock.now()
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
        metadata = {"name": self._key.name, "namespace": self._key.namespace}
        if lease is None:
            desired = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}
            await self._api.create(LEASE, desired)
        else:
            version = {"resourceVersion": lease["metadata"]["resourceVersion"]}
            await self._api.merge(LEASE, self._key, {"metadata": version, "spec": spec})
        return True
