"""The state of the supervisor and its programs. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ServiceState(StrEnum):
    WAITING = "waiting"
    """Its first start waits for the programs that it needs."""
    STARTING = "starting"
    READY = "ready"
    UNREADY = "unready"
    """Runs and was ready, but its health check fails now."""
    RESTARTING = "restarting"
    """It ended and starts again after a delay."""
    STOPPED = "stopped"


_FIRST = (ServiceState.WAITING, ServiceState.STARTING)
NEEDED_FOR_STATUSES = ("model-manager", "app-deployer")
"""Until these services are ready, statuses are those of the last run."""
NEEDED_FOR_ANSWERS = ("envoy", "endpoint-router", "token-quota")


class Phase(StrEnum):
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    state: ServiceState
    address: str
    pid: int | None = None
    restarts: int = 0
    since: float = 0.0
    """Seconds since the epoch."""
    problem: str = ""
    last_lines: tuple[str, ...] = ()
    """The end of its log at its last exit."""


@dataclass(frozen=True, slots=True)
class State:
    pid: int
    phase: Phase
    started: float
    ports: Mapping[str, int]
    services: tuple[Service, ...] = field(default=())

    def service(self, name: str) -> Service | None:
        return next((service for service in self.services if service.name == name), None)

    def starts_first(self, name: str) -> bool:
        """Whether the service starts for the first time: what it writes is of the last run."""
        found = self.service(name)
        return found is not None and found.state in _FIRST and not found.restarts

    def ready(self) -> bool:
        return bool(self.services) and all(service.state == ServiceState.READY for service in self.services)
