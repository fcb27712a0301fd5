"""`arks status`: the health of Arks."""

import time
from typing import Annotated

import typer

from arks.local.cli.connection import not_running
from arks.local.cli.failure import Exit, Failure
from arks.local.cli.given_options import copyable, with_copyable_steps
from arks.local.cli.machine_facts import free_disk_bytes
from arks.local.cli.options import NO_HOME, LocalHomeOption, OutputOption
from arks.local.cli.output import print_data, print_text, terminal_width
from arks.local.cli.reading import read
from arks.local.files.paths import Paths
from arks.local.files.state import State
from arks.local.files.state_file import state_if_running
from arks.local.render.kinds import ARKS_KINDS
from arks.local.render.status import View, as_data, as_text


def status(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also list the services.")] = False,
    output: OutputOption = None,
    home: LocalHomeOption = NO_HOME,
) -> None:
    """Show whether Arks is up, its URLs and any problems. The exit code is 1 if something is wrong.

    \b
    arks status
    arks status -v
    arks status -o json
    """
    paths = Paths.of(home)
    state = state_if_running(paths)
    if state is None:
        if output is not None:
            print_data({"running": False, "home": str(paths.home), "services": []}, output)
        raise not_running(paths)
    view = _view(paths, state)
    if output is None:
        print_text(copyable(as_text(view, time.time(), services=verbose or not state.ready(), width=terminal_width())))
    else:
        print_data(with_copyable_steps(as_data(view, time.time()), "problems"), output)
    if view.problems:
        raise typer.Exit(Exit.FAILED)


def _view(paths: Paths, state: State) -> View:
    from arks.kit.machine import available_memory_bytes

    resources, problem = None, ""
    try:
        resources = read(paths.home, ARKS_KINDS)
    except Failure as error:
        problem = str(error)
    free_memory = available_memory_bytes()
    return View(state, paths, paths.demo_key.exists(), resources, free_disk_bytes(paths.home), free_memory, problem)
