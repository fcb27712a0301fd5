"""The supervisor's program: `python -m arks.local.programs.supervisor --home DIRECTORY --gateway-port PORT`.

It holds run/supervisor.lock until it ends. SIGTERM stops everything in order, a second SIGTERM kills it at once. If the
supervisor is killed, the kernel kills its children (PR_SET_PDEATHSIG), and theirs in turn.
"""

import argparse
import asyncio
import logging
import os
import sys
import time
from pathlib import Path

from arks.kit.process import become_subreaper
from arks.local.files.paths import Paths
from arks.local.files.ports_file import read_ports
from arks.local.plan import binaries
from arks.local.plan.programs import programs
from arks.local.supervisor.lock import AlreadyRunning, take_lock
from arks.local.supervisor.prepare import prepare
from arks.local.supervisor.supervisor import Supervisor

log = logging.getLogger(__name__)

ALREADY_RUNNING = 3
"""Exit status if another supervisor runs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--gateway-port", type=int, required=True)
    arguments = parser.parse_args()
    _configure_logging()
    try:
        _supervise(Paths.of(arguments.home), arguments.gateway_port)
    except AlreadyRunning as error:
        log.error("%s", error)
        sys.exit(ALREADY_RUNNING)
    except (OSError, binaries.Missing) as error:
        log.error("cannot run: %s", error)
        sys.exit(1)


def _supervise(paths: Paths, gateway_port: int) -> None:
    paths.create()
    with take_lock(paths):
        become_subreaper()
        supervisor = Supervisor(paths, programs(prepare(paths, gateway_port, os.environ)))
        asyncio.run(supervisor.run(ports=read_ports(paths)))


def _configure_logging() -> None:
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        format="%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S", level=logging.INFO
    )


if __name__ == "__main__":
    main()
