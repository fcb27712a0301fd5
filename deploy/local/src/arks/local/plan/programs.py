"""The programs of one Arks on one machine: their commands, settings, start order and health checks. Pure."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arks.gateway_filter import SEARCH_PATH
from arks.local.files.paths import Paths
from arks.local.plan.addresses import GATEWAY, HOST

GATEWAY_NAME = "local"
"""Envoy's filter and the shipper name the gateway by it in leases and usage batches, so both need the same one."""
BACKGROUND_NICE = 10
"""For programs that work after the answers: they get a tenth of the processor of those that clients wait for, while
both want it. Usage may be a moment late; answers may not.
"""
DRAIN_SECONDS = 0.7
"""Time for services to finish their work after SIGTERM; all of Arks must end within 5 s."""
FULL_DISK_BYTES = 16 * 1024**2
"""With less free space than this, writes fail or will soon."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Health check: the address accepts connections and, if there is a path, answers it with 200."""

    address: int | Path
    """A port on loopback, or a Unix socket."""
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """One process that the supervisor starts and restarts."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    address: str
    """host:port or URL for clients, as `arks status` shows it."""
    probe: Probe
    after: tuple[str, ...] = ()
    """Programs that must be ready before its first start. After that it tolerates their restarts."""
    prepare: tuple[str, ...] | None = None
    """A command that runs once before the first start, while the programs in `after` start."""
    stop_seconds: float = DRAIN_SECONDS + 0.2
    """From SIGTERM to SIGKILL."""
    broken_by: str = ""
    """Text in its log after which it stays broken until it starts again; empty: there is none."""


@dataclass(frozen=True, slots=True)
class Binaries:
    nats: Path
    valkey: Path
    envoy: Path
    gateway_filter: Path
    """The directory of the filter's library."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The inputs of the plan."""

    paths: Paths
    ports: Mapping[str, int]
    """Name -> port, for PORT_NAMES and the gateway."""
    binaries: Binaries
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment of every process: PATH, HOME, proxies and so on."""
    envoy_workers: int = 2
    log_level: str = "info"


def programs(machine: Machine) -> list[Program]:
    """All programs in start order; they stop in reverse order."""
    return [
        _nats(machine),
        _valkey(machine),
        _service(machine, "model-manager"),
        _service(machine, "app-deployer"),
        _endpoint_router(machine),
        _token_quota(machine),
        _meter(machine),
        _envoy(machine),
        _shipper(machine),
        _service(machine, "metrics"),
    ]


def _nats(machine: Machine) -> Program:
    port = machine.ports["nats"]
    return Program(
        name="nats",
        command=(str(machine.binaries.nats), "--config", str(machine.paths.nats_config)),
        environment=machine.environment,
        address=f"nats://{HOST}:{port}",
        probe=Probe(port),
        broken_by="critical write error",  # 2.15: a full disk; its stream takes no message even with space again
    )


def _valkey(machine: Machine) -> Program:
    port = machine.ports["valkey"]
    return Program(
        name="valkey",
        command=(str(machine.binaries.valkey), str(machine.paths.valkey_config)),
        environment=machine.environment,
        address=f"redis://{HOST}:{port}",
        probe=Probe(port),
    )


def _service(
    machine: Machine, name: str, *, after: tuple[str, ...] = ("nats",), module: str | None = None, **settings: object
) -> Program:
    port = machine.ports[name]
    module = module or f"arks.{name.replace('-', '_')}.main"
    shared = {
        "NATS_URL": f"nats://{HOST}:{machine.ports['nats']}",
        "NATS_TOKEN_FILE": machine.paths.nats_token,
        "STATE_DIR": machine.paths.home,
        "HTTP_PORT": port,
        "LOG_LEVEL": machine.log_level,
        "DRAIN_SECONDS": DRAIN_SECONDS,
    }
    environment = {f"ARKS_{setting}": str(value) for setting, value in (shared | settings).items()}
    return Program(
        name=name,
        command=service_command(module),
        environment={**machine.environment, **environment},
        address=f"http://{HOST}:{port}",
        probe=Probe(port, "/readyz"),
        after=after,
    )


def service_command(module: str) -> tuple[str, ...]:
    """Without docstrings: 4 MB a process."""
    return (sys.executable, "-OO", "-m", "arks.local.programs.service", module)


def _endpoint_router(machine: Machine) -> Program:
    ports = machine.ports
    return _service(
        machine,
        "endpoint-router",
        XDS_SOCKET=machine.paths.xds_socket,
        GATEWAY_HOST=HOST,
        GATEWAY_PORT=ports[GATEWAY],
        TOKEN_QUOTA_SOCKET=machine.paths.token_quota_socket,
        OPERATOR_TOKEN_FILE=machine.paths.operator_token,
        USAGE_LOG=machine.paths.usage_log,
    )


def _token_quota(machine: Machine) -> Program:
    return _service(
        machine,
        "token-quota",
        after=("nats", "valkey"),
        API_SOCKET=machine.paths.token_quota_socket,
        PEPPER_FILE=machine.paths.pepper,
        **_stores(machine),
    )


def _meter(machine: Machine) -> Program:
    return _service(
        machine,
        "usage-meter",
        module="arks.token_quota.programs.meter",
        after=("nats", "valkey"),
        NICE=BACKGROUND_NICE,
        **_stores(machine),
    )


def _stores(machine: Machine) -> dict[str, Any]:
    return {
        "REDIS_URL": f"redis://{HOST}:{machine.ports['valkey']}",
        "REDIS_PASSWORD_FILE": machine.paths.valkey_password,
        "DATABASE_URL": f"sqlite+aiosqlite:///{machine.paths.ledger}",
    }


def _shipper(machine: Machine) -> Program:
    return _service(
        machine,
        "usage-shipper",
        module="arks.token_quota.programs.shipper",
        after=("nats",),
        NICE=BACKGROUND_NICE,
        GATEWAY=GATEWAY_NAME,
        USAGE_LOG=machine.paths.usage_log,
        ENVOY_ADMIN_SOCKET=machine.paths.envoy_admin_socket,
    )


def _envoy(machine: Machine) -> Program:
    paths, ports = machine.paths, machine.ports
    sockets_and_output = (
        *("--xds-socket", str(paths.xds_socket), "--admin-socket", str(paths.envoy_admin_socket)),
        *("--output", str(paths.envoy_bootstrap)),
    )
    return Program(
        name="envoy",
        command=envoy_command(machine.binaries.envoy, paths.envoy_bootstrap, machine.envoy_workers),
        environment={
            **machine.environment,
            "ARKS_GATEWAY": GATEWAY_NAME,
            SEARCH_PATH: str(machine.binaries.gateway_filter),
        },
        address=f"http://{HOST}:{ports[GATEWAY]}",
        probe=Probe(paths.envoy_admin_socket, "/ready"),
        after=("endpoint-router",),
        prepare=(
            sys.executable,
            "-m",
            "arks.local.programs.envoy_bootstrap",
            *sockets_and_output,
        ),
        stop_seconds=0.5,
    )


def envoy_command(binary: Path, bootstrap: Path, workers: int) -> tuple[str, ...]:
    """Envoy's command line, equal to endpoint-router's (a test compares them): importing that costs 15 MB."""
    return (
        *(str(binary), "--disable-hot-restart", "--config-path", str(bootstrap), "--concurrency", str(workers)),
        *("--file-flush-min-size-kb", "1", "--file-flush-interval-msec", "100"),
        *("--drain-time-s", "300", "--log-level", "warn"),
    )
