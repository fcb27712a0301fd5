"""The supervisor with few programs, for tests: `python small_supervisor.py HOME`.

Real NATS and Valkey; `parent`, which leaves an orphan, as engines are; `crashing`, which never becomes ready; `web`,
which answers HTTP until it is stopped.
"""

import asyncio
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from arks.kit.process import become_subreaper
from arks.local.files.paths import Paths
from arks.local.files.ports_file import read_ports
from arks.local.plan.programs import Probe, Program
from arks.local.plan.programs import programs as planned_programs
from arks.local.programs.supervisor import ALREADY_RUNNING
from arks.local.supervisor.lock import AlreadyRunning, take_lock
from arks.local.supervisor.prepare import prepare
from arks.local.supervisor.supervisor import Supervisor
from arks.local.supervisor.unit import Timings

PARENT = Path(__file__).parent / "parent_program.py"


def programs(paths: Paths) -> list[Program]:
    machine = prepare(paths, gateway_port=0, environment=os.environ)
    kept = [program for program in planned_programs(machine) if program.name in {"nats", "valkey"}]
    port = machine.ports["metrics"]
    python, environment = sys.executable, dict(os.environ)
    parent = (python, str(PARENT), str(paths.run / "orphan"), str(port))
    web_port = machine.ports["app-deployer"]
    web = (
        python,
        "-m",
        "http.server",
        str(web_port),
        "--bind",
        "127.0.0.1",
        "--directory",
        str(paths.usage_log.parent),
    )
    crashing = (python, "-c", "import sys; print('no luck'); sys.exit(3)")
    return [
        *map(limited, kept),
        Program("parent", parent, environment, f"127.0.0.1:{port}", Probe(port), after=("nats",)),
        Program("web", web, environment, f"http://127.0.0.1:{web_port}", Probe(web_port, "/")),
        Program("crashing", crashing, environment, "", Probe(machine.ports["endpoint-router"])),
    ]


def limited(program: Program) -> Program:
    """NATS cannot write files of more than 1 MB before its first restart, as on a full disk."""
    if program.name != "nats":
        return program
    marker = Path(program.command[-1]).with_name("started")
    script = f"test -e {marker} || ulimit -f 2000; touch {marker}; exec {shlex.join(program.command)}"
    return replace(program, command=("sh", "-c", script))


def main() -> None:
    paths = Paths.of(Path(sys.argv[1]))
    paths.create()
    try:
        with take_lock(paths):
            become_subreaper()
            timings = Timings(watch_seconds=0.2, failed_watches=2)
            asyncio.run(Supervisor(paths, programs(paths), timings).run(ports=read_ports(paths)))
    except AlreadyRunning:
        sys.exit(ALREADY_RUNNING)


if __name__ == "__main__":
    main()
