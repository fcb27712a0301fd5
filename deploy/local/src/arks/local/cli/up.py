"""`arks up`: start Arks."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from arks.local.cli.failure import fail
from arks.local.cli.options import NO_HOME, LocalHomeOption
from arks.local.files.paths import Paths
from arks.local.files.state_file import state_if_running

if TYPE_CHECKING:
    from arks.local.files.state import State

_UP_SECONDS = 180.0
_PORT_HELP = "Port of the gateway; default 8080."
_TIMEOUT_HELP = "Seconds to wait for the first answer."


def up(
    port: Annotated[
        int | None, typer.Option("--port", "-p", min=1, max=65535, help=_PORT_HELP, show_default=False)
    ] = None,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Serve a small model, with an API key for it.")] = True,
    show_key: Annotated[bool, typer.Option("--show-key", help="Print the whole API key of the demo.")] = False,
    link: Annotated[bool, typer.Option("--link", help="Link `arks` into ~/.local/bin if that is on the PATH.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", help=_TIMEOUT_HELP)] = _UP_SECONDS,
    home: LocalHomeOption = NO_HOME,
) -> None:
    """Start Arks and wait until the demo model answers. Safe to repeat: running programs are not restarted, and
    what you changed in the demo stays.

    \b
    arks up
    arks up --port 9000
    arks up --no-demo --home /srv/arks
    """
    from arks.local.cli.bring_up import Wishes, bring_up

    began = time.monotonic()
    paths = Paths.of(home)
    try:
        bring_up(paths, _started(paths, port), Wishes(demo, show_key, link, timeout), began)
    except KeyboardInterrupt:
        fail("what was started goes on without this command", "`arks up` waits again, `arks down` stops it")


def _started(paths: Paths, port: int | None) -> "State":
    """The state of the supervisor, which is started if it is not running. Raises Failure."""
    from arks.local.files.ports_file import read_ports
    from arks.local.plan.addresses import DEFAULT_GATEWAY_PORT, GATEWAY

    state = state_if_running(paths)
    if state is not None:
        current = state.ports[GATEWAY]
        if port not in {None, current}:
            fail(
                f"Arks is already running, with its gateway on port {current}",
                f"to change it: `arks down`, then `arks up --port {port}`",
            )
        return state
    chosen = port or read_ports(paths).get(GATEWAY, DEFAULT_GATEWAY_PORT)
    _check_port(chosen)
    return _start(paths, chosen)


def _check_port(port: int) -> None:
    from arks.local.plan.ports import is_free, listener_of

    try:
        free = is_free(port)
    except PermissionError:
        fail(f"port {port} needs root (ports below 1024)", "choose a higher port with `arks up --port PORT`")
    if not free:
        user = listener_of(port) or "another program"
        fail(f"port {port} is in use by {user}", f"choose another with `arks up --port {port + 1}`")


def _start(paths: Paths, port: int) -> "State":
    from arks.local.client.supervisor_process import DidNotStart, start, wait_started

    try:
        return wait_started(paths, start(paths, port))
    except DidNotStart as error:
        fail(f"the supervisor did not start:\n{error}", f"its whole log is {paths.log('supervisor')}")
    except OSError as error:
        fail(f"cannot use {paths.home}: {error.strerror or error}", "choose another directory with --home DIRECTORY")
