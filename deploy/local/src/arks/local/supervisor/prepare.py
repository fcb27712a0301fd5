"""Create what the programs need before they start: secrets, ports, configuration files, environment."""

import os
from collections.abc import Mapping
from pathlib import Path

import arks
from arks.kit.files import write_atomically
from arks.local.files import credentials
from arks.local.files.installation import write_installation
from arks.local.files.paths import Paths
from arks.local.files.ports_file import read_ports, write_ports
from arks.local.plan import binaries, ports, server_configs
from arks.local.plan.addresses import GATEWAY, PORT_NAMES
from arks.local.plan.programs import Binaries, Machine

_MAX_ENVOY_WORKERS = 4
_KEPT_SETTINGS = ("ARKS_OTLP_ENDPOINT", "ARKS_GATEWAY_CORS_ORIGINS", "ARKS_RUNTIME_PROFILES")


def prepare(paths: Paths, gateway_port: int, environment: Mapping[str, str]) -> Machine:
    """Create the files and return the inputs of the plan. Raises OSError and binaries.Missing.

    `environment`: the supervisor's own.
    """
    credentials.create_all(paths)
    write_installation(paths, arks.__path__)
    chosen = ports.choose(PORT_NAMES, read_ports(paths)) | {GATEWAY: gateway_port}
    write_ports(paths, chosen)
    nats_token, password = paths.nats_token.read_text(), paths.valkey_password.read_text()
    write_atomically(paths.nats_config, server_configs.nats(chosen["nats"], nats_token, paths.nats), mode=0o600)
    write_atomically(paths.valkey_config, server_configs.valkey(chosen["valkey"], password, paths.valkey), mode=0o600)
    return Machine(
        paths=paths,
        ports=chosen,
        binaries=_binaries(),
        environment=child_environment(environment, os.getpid(), paths.bytecode),
        envoy_workers=min(os.cpu_count() or 1, _MAX_ENVOY_WORKERS),
    )


def _binaries() -> Binaries:
    return Binaries(
        nats=binaries.nats_server(),
        valkey=binaries.valkey_server(),
        envoy=binaries.envoy(),
        gateway_filter=binaries.gateway_filter(),
    )


def child_environment(own: Mapping[str, str], supervisor: int, bytecode: Path) -> dict[str, str]:
    """The environment of the programs: the supervisor's own, but of ARKS_ settings only those that users may set.

    The plan sets all other ARKS_ settings.
    """
    if "PYTHONDONTWRITEBYTECODE" in own:  # compiling everything at each start would double the time that it takes
        own = {name: value for name, value in own.items() if name != "PYTHONDONTWRITEBYTECODE"}
        own["PYTHONPYCACHEPREFIX"] = str(bytecode)
    kept = {name: value for name, value in own.items() if not name.startswith("ARKS_") or name in _KEPT_SETTINGS}
    # Few threads allocate much; without a limit glibc gives each its own arena, which costs tens of megabytes.
    return kept | {"ARKS_SUPERVISOR_PID": str(supervisor), "MALLOC_ARENA_MAX": "2"}
