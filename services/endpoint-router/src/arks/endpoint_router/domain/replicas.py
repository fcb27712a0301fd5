"""Replicas and the applications that they belong to, from the facts of app-deployer."""

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from msgspec import Struct

from arks.contracts.facts import ReplicaState


class ReplicaId(Struct, frozen=True, order=True, cache_hash=True, gc=False):
    """Identifies one run of a replica: what was measured before a restart does not hold after it."""

    application: str
    name: str
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class RoutedReplica:
    id: ReplicaId
    host: str
    port: int
    state: ReplicaState
    slots: int = 0
    """Requests that it works on at the same time; 0 if unknown."""

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Application:
    """One application of the endpoint's namespace."""

    name: str
    served_model: str
    replicas: tuple[RoutedReplica, ...]
    unsupported: tuple[str, ...] = ()
    """What its engines take in a request and do not keep."""


class Pages(Struct, frozen=True):
    """What the metrics pages of an application's engines are, for users."""

    application: str
    versions: tuple[str, ...] = ()
    """What they look like, such as "vLLM 0.12 or newer"."""
    missing: tuple[str, ...] = ()
    """Signals that at least one of them lacks."""


def usable_address(replica: RoutedReplica) -> bool:
    """Return whether Envoy accepts the address.

    Envoy takes IP addresses only, and rejects a whole update for one bad entry.
    """
    return 0 < replica.port < 65536 and _is_ip_address(replica.host)


@lru_cache(maxsize=65536)
def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
