"""The supervisor with few programs, for tests: `python small_supervisor.py HOME`.

Real NATS and Valkey; `parent`, whose child lives on as an orphan, as engines do; `crashing`, which never comes up;
`web`, which answers HTTP until it is stopped.
"""

import asyncio
import os
import sys
from pathlib import Path

from arks.kit.process import become_subreaper
from arks.local.files.paths import Paths
from arks.local.files.ports_file import read_ports
from arks.local.plan import programs as plan
from arks.local.plan.programs import Probe, Program
from arks.local.programs.supervisor import prepare, take_lock
from arks.local.supervisor.supervisor import Supervisor
from arks.local.supervisor.unit import Timing

PARENT = Path(__file__).parent / "parent_program.py"


def programs(paths: Paths) -> list[Program]:
    machine = prepare(paths, gateway_port=0)
    kept = [program for program in plan.programs(machine) if program.name in {"nats", "valkey"}]
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
        *kept,
        Program("parent", parent, environment, f"127.0.0.1:{port}", Probe(port), after=("nats",)),
        Program("web", web, environment, f"http://127.0.0.1:{web_port}", Probe(web_port, "/")),
        Program("crashing", crashing, environment, "", Probe(machine.ports["xds"])),
    ]


def main() -> None:
    paths = Paths.of(Path(sys.argv[1]))
    paths.create()
    with take_lock(paths):
        become_subreaper()
        timing = Timing(watch_seconds=0.2, failed_watches=2)
        asyncio.run(Supervisor(paths, programs(paths), timing).run(ports=read_ports(paths)))


if __name__ == "__main__":
    main()
