"""`arks up`, `arks down`, `arks status`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arks.local.cli.common import (
    NO_HOME,
    Exit,
    HomeOption,
    Output,
    OutputOption,
    fail,
    not_running,
    paths_of,
    say,
)
from arks.local.files.state import running

if TYPE_CHECKING:
    from arks.local.files.paths import Paths
    from arks.local.files.state import State

_UP_SECONDS = 180.0


def up(
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", min=1, max=65535, help="Port of the gateway; default 8080.", show_default=False),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Serve a small model, with a key for it.")] = True,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds until the model must answer.")] = _UP_SECONDS,
    home: HomeOption = NO_HOME,
) -> None:
    """Start Arks and return when the demo model answers. Safe to repeat: what runs is left as it is.

    \b
    arks up
    arks up --port 9000
    arks up --no-demo --home /srv/arks
    """
    from arks.local.cli.bring_up import bring_up

    began = time.monotonic()
    paths = paths_of(home)
    state = _started(paths, port)
    bring_up(paths, state, with_demo=demo, seconds=timeout, began=began)


def _started(paths: "Paths", port: int | None) -> "State":
    """The state of the supervisor, which is started when it does not run. Raises Failure."""
    from arks.local.files.ports_file import read_ports
    from arks.local.plan.ports import DEFAULT_GATEWAY_PORT, GATEWAY

    state = running(paths)
    if state is not None:
        runs_at = state.ports[GATEWAY]
        if port not in {None, runs_at}:
            fail(
                f"Arks runs already, with its gateway at port {runs_at}",
                f"`arks down` first, then `arks up --port {port}`",
            )
        return state
    wanted = port or read_ports(paths).get(GATEWAY, DEFAULT_GATEWAY_PORT)
    _check_port(wanted)
    return _start(paths, wanted)


def _check_port(port: int) -> None:
    from arks.local.plan.ports import is_free, listener_of

    try:
        free = is_free(port)
    except PermissionError:
        fail(f"port {port} is not for ordinary users", "choose one from 1024 up with `arks up --port PORT`")
    if not free:
        by = listener_of(port)
        who = f"by {by}" if by else "by another program"
        fail(f"port {port} is in use {who}", f"choose another with `arks up --port {port + 1}`")


def _start(paths: "Paths", port: int) -> "State":
    from arks.local.client.supervisor_process import DidNotStart, start, wait_started

    try:
        return wait_started(paths, start(paths, port))
    except DidNotStart as error:
        fail(f"the supervisor did not start:\n{error}", f"all it said is in {paths.log('supervisor')}")
    except OSError as error:
        fail(f"cannot use {paths.home}: {error.strerror or error}", "choose another directory with --home DIRECTORY")


def down(home: HomeOption = NO_HOME) -> None:
    """Stop Arks: requests under way get a moment to end, then nothing of it is left. Data stays."""
    from arks.local.client.supervisor_process import stop

    paths = paths_of(home)
    state = running(paths)
    if state is None:
        say("Arks does not run.")
        return
    began = time.monotonic()
    if not stop(paths, state):
        say(f"Arks did not end by itself and was killed; see {paths.log('supervisor')}")
        return
    say(f"Arks is down ({time.monotonic() - began:.1f} s). Its data stays in {paths.home}.")


def status(output: OutputOption = None, home: HomeOption = NO_HOME) -> None:
    """Say whether Arks is up, where it listens, and what is wrong if something is.

    \b
    arks status
    arks status -o json
    """
    from arks.local.render import resources as render
    from arks.local.render import status as view

    paths = paths_of(home)
    state = running(paths)
    if state is None:
        _print_down(output, paths.home)
        raise not_running(paths)
    with_demo = paths.demo_key.exists()
    if output is None:
        say(view.as_text(state, paths, with_demo=with_demo, now=time.time()))
    else:
        data = view.as_data(state, paths, with_demo=with_demo)
        say(render.to_json(data) if output == Output.JSON else render.to_yaml(data))
    if not state.ready():
        raise typer.Exit(Exit.FAILED)


def _print_down(output: Output | None, home: Path) -> None:
    from arks.local.render import resources as render

    data = {"running": False, "home": str(home), "services": []}
    if output is not None:
        say(render.to_json(data) if output == Output.JSON else render.to_yaml(data))


def add_to(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(down)
    app.command()(status)
