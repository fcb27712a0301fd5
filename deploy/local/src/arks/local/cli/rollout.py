"""`arks rollout`: move an endpoint's traffic to another application in steps."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from arks.local.cli.changing import Change, change_spec
from arks.local.cli.failure import Exit, fail
from arks.local.cli.home import Home
from arks.local.cli.names import complete_endpoints
from arks.local.cli.options import (
    NO_HOME,
    NO_NAMESPACE,
    AllNamespacesOption,
    EndpointArgument,
    HomeOption,
    NamespaceOption,
    OutputOption,
)
from arks.local.cli.output import print_data, print_text, terminal_width
from arks.local.cli.reading import read
from arks.local.cli.targets import select
from arks.local.render.kinds import ENDPOINT, find_kind

app = typer.Typer(name="rollout", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Watch and decide rollouts of endpoints: `spec.rollout` of an ArksEndpoint.

    \b
    arks rollout status
    arks rollout promote chat
    arks rollout abort chat
    """


@app.command()
def status(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[ENDPOINT]...", help="Only these.", autocompletion=complete_endpoints)
    ] = None,
    namespace: NamespaceOption = NO_NAMESPACE,
    all_namespaces: AllNamespacesOption = False,
    output: OutputOption = None,
    home: HomeOption = NO_HOME,
) -> None:
    """Show where rollouts are: the canary, its share, and what was measured.

    \b
    arks rollout status
    arks rollout status chat
    """
    from arks.local.render.rollout import as_data, as_text

    wanted = _endpoints(names or [])
    found = select(ENDPOINT, read(home, [ENDPOINT])[ENDPOINT], wanted, None if all_namespaces else namespace)
    rows = as_data(found)
    if output is not None:
        print_data({"rollouts": rows}, output)
    elif rows:
        print_text(as_text(rows, namespaces=all_namespaces, width=terminal_width()))
    else:
        typer.echo("No rollouts. A rollout is `spec.rollout` of an ArksEndpoint: see docs/resources.md.", err=True)


def _endpoints(arguments: Sequence[str]) -> list[str]:
    """Names of endpoints, also written as kubectl takes them: `endpoint chat`, `endpoint/chat`. Raises Failure."""
    first, slash, _ = (arguments[0] if arguments else "").partition("/")
    kind = find_kind(first) if slash or len(arguments) > 1 else None
    if kind is not None and kind is not ENDPOINT:
        named = arguments[0] if slash else " ".join(arguments[:2])
        fail(
            f"a rollout here is of an endpoint, not of {kind.word}s",
            f"`arks wait {named}` waits until the newest spec runs; `arks rollout status ENDPOINT` shows a canary",
            Exit.USAGE,
        )
    return [argument.rpartition("/")[2] for argument in (arguments[1:] if kind and not slash else arguments)]


@app.command()
def promote(endpoint: EndpointArgument, namespace: NamespaceOption = NO_NAMESPACE, home: HomeOption = NO_HOME) -> None:
    """Give all traffic to the canary now."""
    _command(home, namespace, endpoint, "Promote")
    print_text(f"arksendpoint/{endpoint} promoted")


@app.command()
def abort(endpoint: EndpointArgument, namespace: NamespaceOption = NO_NAMESPACE, home: HomeOption = NO_HOME) -> None:
    """Give no more traffic to the canary; its requests in flight go on."""
    _command(home, namespace, endpoint, "Abort")
    print_text(f"arksendpoint/{endpoint} rolled back")


def _command(home: Home, namespace: str, endpoint: str, command: str) -> None:
    asyncio.run(change_spec(home, ENDPOINT, namespace, endpoint, with_command(endpoint, command)))


def with_command(endpoint: str, command: str) -> Change:
    """Return the change of a spec that sets the command of its rollout. It raises Failure if there is no rollout."""

    def change(spec: dict[str, Any]) -> None:
        if not spec.get("rollout"):
            fail(f"arksendpoint/{endpoint} has no rollout", "set `spec.rollout`: see docs/resources.md", Exit.FAILED)
        spec["rollout"] = {**spec["rollout"], "command": command}

    return change
