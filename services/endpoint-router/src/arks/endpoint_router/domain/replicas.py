"""Replicas and the applications they belong to, as app-deployer reports them."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, order=True)
class ReplicaId:
    """Names one run of one replica: after a restart what was known of it does not hold."""

    application: str
    name: str
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Replica:
    id: ReplicaId
    host: str
    port: int
    state: State
    slots: int = 0
    """Requests that it works on at once; 0 when unknown."""

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Application:
    """One application of the endpoint's namespace."""

    name: str
    served_model: str
    replicas: tuple[Replica, ...]


def usable_address(replica: Replica) -> bool:
    """Whether Envoy can send to it: it takes only IP addresses, and refuses a whole update for one bad entry."""
    try:
        ip_address(replica.host)
    except ValueError:
        return False
    return 0 < replica.port < 65536
