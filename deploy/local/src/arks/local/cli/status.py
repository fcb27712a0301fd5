"""`arks status`: the health of Arks."""

import time

import typer

from arks.local.cli.connection import not_running
from arks.local.cli.failure import Exit
from arks.local.cli.options import NO_HOME, HomeOption, OutputOption
from arks.local.cli.output import print_data, print_text
from arks.local.files.paths import Paths
from arks.local.files.state_file import state_if_running


def status(output: OutputOption = None, home: HomeOption = NO_HOME) -> None:
    """Show whether Arks is up, its URLs and any problems.

    \b
    arks status
    arks status -o json
    """
    from arks.local.render.status import as_data, as_text

    paths = Paths.of(home)
    state = state_if_running(paths)
    if state is None:
        if output is not None:
            print_data({"running": False, "home": str(paths.home), "services": []}, output)
        raise not_running(paths)
    with_demo = paths.demo_key.exists()
    if output is None:
        print_text(as_text(state, paths, with_demo=with_demo, now=time.time()))
    else:
        print_data(as_data(state, paths, with_demo=with_demo), output)
    if not state.ready():
        raise typer.Exit(Exit.FAILED)
