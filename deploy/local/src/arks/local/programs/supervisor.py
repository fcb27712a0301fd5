"""The supervisor's program: `python -m arks.local.programs.supervisor --home DIRECTORY --gateway-port PORT`.

It holds run/supervisor.lock while it lives. SIGTERM ends everything in order, a second SIGTERM at once. When it is
killed, the kernel ends its children (PR_SET_PDEATHSIG), and those end theirs.
"""

import argparse
import asyncio
import fcntl
import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from arks.kit.process import become_subreaper
from arks.local.files import credentials, state
from arks.local.files.paths import Paths
from arks.local.files.ports_file import read_ports, write_ports
from arks.local.plan import binaries, ports, server_configs
from arks.local.plan.programs import PORT_NAMES, Binaries, Machine
from arks.local.plan.programs import programs as plan_programs
from arks.local.supervisor.supervisor import Supervisor

log = logging.getLogger(__name__)

_LOCK_SECONDS = 1.0
_MOST_ENVOY_WORKERS = 4
_CHOSEN = ("ARKS_OTLP_ENDPOINT",)
ALREADY_RUNNING = 3
"""Exit status when another supervisor has the lock."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--gateway-port", type=int, required=True)
    arguments = parser.parse_args()
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        format="%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S", level=logging.INFO
    )
    paths = Paths.of(arguments.home)
    try:
        paths.create()
        with take_lock(paths):
            become_subreaper()
            supervisor = Supervisor(paths, plan_programs(prepare(paths, arguments.gateway_port)))
            asyncio.run(supervisor.run(ports=read_ports(paths)))
    except (OSError, binaries.Missing) as error:
        log.error("cannot go on: %s", error)  # the sentence says it; the log is for people
        sys.exit(1)


def take_lock(paths: Paths) -> TextIO:
    """The lock, held until the file is closed. Exits when somebody else has it: one supervisor a home."""
    file = paths.lock.open("a+")
    deadline = time.monotonic() + _LOCK_SECONDS  # those who only look hold it for an instant
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            log.error("another supervisor runs with home %s", paths.home)  # expected, not a fault
            sys.exit(ALREADY_RUNNING)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        paths.pid.write_text(f"{os.getpid()}\n")
        paths.state.unlink(missing_ok=True)
        return file


def prepare(paths: Paths, gateway_port: int) -> Machine:
    """Make what the processes need to start. Raises OSError and binaries.Missing."""
    credentials.create_all(paths)
    chosen = ports.choose(PORT_NAMES, read_ports(paths)) | {ports.GATEWAY: gateway_port}
    write_ports(paths, chosen)
    state.write(paths.nats_config, server_configs.nats(chosen["nats"], paths.nats_token.read_text(), paths.nats))
    state.write(
        paths.valkey_config, server_configs.valkey(chosen["valkey"], paths.valkey_password.read_text(), paths.valkey)
    )
    return Machine(
        paths=paths,
        ports=chosen,
        binaries=Binaries(binaries.nats_server(), binaries.valkey_server(), binaries.envoy()),
        environment=child_environment(os.environ, os.getpid(), paths.bytecode),
        envoy_workers=min(os.cpu_count() or 1, _MOST_ENVOY_WORKERS),
    )


def child_environment(ours: Mapping[str, str], supervisor: int, bytecode: Path) -> dict[str, str]:
    """What children get of our environment; of Arks' settings only those that people choose, the plan has the rest."""
    if "PYTHONDONTWRITEBYTECODE" in ours:  # compiling everything at each start would double the time that it takes
        ours = {name: value for name, value in ours.items() if name != "PYTHONDONTWRITEBYTECODE"}
        ours["PYTHONPYCACHEPREFIX"] = str(bytecode)
    kept = {name: value for name, value in ours.items() if not name.startswith("ARKS_") or name in _CHOSEN}
    # Few threads allocate much; without a limit glibc gives each its own arena, which costs tens of megabytes.
    return kept | {"ARKS_SUPERVISOR_PID": str(supervisor), "MALLOC_ARENA_MAX": "2"}


if __name__ == "__main__":
    main()
