"""`arks down`: stop Arks."""

import time

from arks.local.cli.options import NO_HOME, LocalHomeOption
from arks.local.cli.output import print_text
from arks.local.files.paths import Paths
from arks.local.files.state_file import state_if_running


def down(home: LocalHomeOption = NO_HOME) -> None:
    """Stop Arks. Running requests get 1.2 s to finish; data is kept."""
    from arks.local.client.supervisor_process import stop

    paths = Paths.of(home)
    state = state_if_running(paths)
    if state is None:
        print_text("Arks is not running.")
        return
    began = time.monotonic()
    if not stop(paths, state):
        print_text(f"Arks did not stop in time and was killed; see {paths.log('supervisor')}")
        return
    print_text(f"Arks is down ({time.monotonic() - began:.1f} s). Its data is kept in {paths.home}.")
