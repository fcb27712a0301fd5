"""`arks top`: the load of each replica, live."""

import asyncio
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from arks.local.cli.connection import on_bus
from arks.local.cli.home import Home
from arks.local.cli.options import (
    NO_HOME,
    NO_NAMESPACE,
    AllNamespacesOption,
    HomeOption,
    NamespaceOption,
    Output,
    OutputOption,
)
from arks.local.cli.output import print_data, print_text
from arks.local.cli.replica_rows import replica_rows, wait_for_load

_REFRESH_SECONDS = 0.5


def top(
    namespace: NamespaceOption = NO_NAMESPACE,
    all_namespaces: AllNamespacesOption = False,
    once: Annotated[bool, typer.Option("--once", help="Print one table and exit.")] = False,
    output: OutputOption = None,
    home: HomeOption = NO_HOME,
) -> None:
    """Show the load of each replica, live.

    Columns: requests running and waiting, KV cache in use, prompt (IN) and generated (OUT) tokens per second, weight.

    \b
    arks top
    arks top -A --once
    arks top -o json
    """
    live = output is None and not once and sys.stdout.isatty()
    asyncio.run(_top(home, None if all_namespaces else namespace, output, live))


async def _top(home: Home, namespace: str | None, output: Output | None, live: bool) -> None:
    from arks.local.render.top import as_data, as_text

    async with on_bus(home) as bus, replica_rows(bus, namespace) as rows:
        if live:
            await _show(lambda: as_text(rows()))
            return
        await wait_for_load(rows)
        if output is None:
            print_text(as_text(rows()))
        else:
            print_data({"replicas": as_data(rows())}, output)


async def _show(text: Callable[[], str]) -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(Text(text()), auto_refresh=False, screen=True) as live:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            live.update(Text(text() + "\nPress Ctrl-C to exit"), refresh=True)
