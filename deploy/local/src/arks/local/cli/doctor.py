"""`arks doctor`: check this machine."""

import time
from dataclasses import asdict
from email.utils import parsedate_to_datetime

import typer

from arks.kit.errors import reason_of
from arks.local.cli.command_path import command_path_note
from arks.local.cli.failure import Exit, Failure
from arks.local.cli.given_options import copyable, with_copyable_steps
from arks.local.cli.machine_facts import free_disk_bytes
from arks.local.cli.options import NO_HOME, LocalHomeOption, OutputOption
from arks.local.cli.output import print_data, print_text
from arks.local.cli.reading import read
from arks.local.files.paths import Paths
from arks.local.files.state_file import state_if_running
from arks.local.render.doctor import Check, Level, Port, as_text, clock, command, disk, gpu, hub, memory, port
from arks.local.render.health import problems
from arks.local.render.kinds import ARKS_KINDS
from arks.local.render.plain import camel_case

_HUB = "https://huggingface.co"
_HUB_SECONDS = 3.0


def doctor(output: OutputOption = None, home: LocalHomeOption = NO_HOME) -> None:
    """Check this machine and what runs on it. The exit code is 1 with a problem (✗), 0 with warnings (!).

    \b
    arks doctor
    """
    paths = Paths.of(home)
    hub_problem, offset = _hub()
    note = command_path_note(link=False)
    checks = [
        disk(free_disk_bytes(paths.home), str(paths.home)),
        *_machine(),
        port(_port(paths)),
        hub(_HUB, hub_problem),
        clock(offset),
        command(not note, note.strip().rpartition("\n")[2].strip()),
        *_resources(paths),
    ]
    if output is None:
        print_text(copyable(as_text(checks)))
    else:
        data = {"checks": [camel_case(asdict(check)) for check in checks]}
        print_data(with_copyable_steps(data, "checks"), output)
    if any(check.level is Level.PROBLEM for check in checks):
        raise typer.Exit(Exit.FAILED)


def _machine() -> list[Check]:
    from arks.kit import machine

    engines = [name for name in ("vllm", "sglang") if machine.has_program(name)]
    return [memory(machine.available_memory_bytes()), gpu(machine.has_gpu(), engines)]


def _port(paths: Paths) -> Port:
    from arks.local.files.ports_file import read_ports
    from arks.local.plan.addresses import DEFAULT_GATEWAY_PORT, GATEWAY
    from arks.local.plan.ports import is_free, listener_of

    state = state_if_running(paths)
    number = state.ports[GATEWAY] if state else read_ports(paths).get(GATEWAY, DEFAULT_GATEWAY_PORT)
    user = None if state or is_free(number) else listener_of(number) or "another program"
    return Port(number, user, state is not None)


def _hub() -> tuple[str | None, float | None]:
    """Why the hub cannot be reached, or how far its clock is from ours, in seconds."""
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(urllib.request.Request(_HUB, method="HEAD"), timeout=_HUB_SECONDS) as answer:
            date = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        date = error.headers.get("Date")
    except (OSError, ValueError) as error:
        return reason_of(error), None
    return None, time.time() - parsedate_to_datetime(date).timestamp() if date else None


def _resources(paths: Paths) -> list[Check]:
    if state_if_running(paths) is None:
        return [Check("arks", Level.OK, "does not run", "start it with `arks up`")]
    try:
        found = problems(read(paths.home, ARKS_KINDS))
    except Failure as error:
        return [Check("arks", Level.PROBLEM, str(error), error.next_step)]
    if not found:
        return [Check("arks", Level.OK, "runs, and every resource is as it should be")]
    return [Check("arks", Level.PROBLEM, f"{item.what}: {item.message}", item.next_step) for item in found]
