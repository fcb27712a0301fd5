"""`arks top`: the load of each replica, live."""

import asyncio
import shutil
import sys
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from arks.local.cli.connection import on_bus
from arks.local.cli.given_options import copyable
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
from arks.local.cli.output import print_data, print_text, terminal_width
from arks.local.cli.replica_rows import held_view, load_view, replica_rows, wait_for_held, wait_for_load

if TYPE_CHECKING:
    from arks.local.client.bus_reader import BusReader

_REFRESH_SECONDS = 1.0
"""Engines are measured several times per second, people read more slowly."""
_MOST_KEYS = 1000
_HISTORY = 400
"""Measurements that the sparkline may show: more than a terminal has columns."""


def top(
    namespace: NamespaceOption = NO_NAMESPACE,
    all_namespaces: AllNamespacesOption = False,
    once: Annotated[bool, typer.Option("--once", help="Print one table and exit.")] = False,
    output: OutputOption = None,
    home: HomeOption = NO_HOME,
) -> None:
    """Show the load of each replica, live.

    Columns: requests running and waiting, KV cache in use, prompt (IN) and generated (OUT) tokens per second, weight.
    A line for each model with requests that the gateway holds until a replica is ready.
    Keys of the live view: s sorts by the next column, ? explains the columns, q exits.

    \b
    arks top
    arks top -A --once
    arks top -o json
    """
    live = output is None and not once and sys.stdout.isatty() and sys.stdin.isatty()
    asyncio.run(_top(home, None if all_namespaces else namespace, output, live))


async def _top(home: Home, namespace: str | None, output: Output | None, live: bool) -> None:
    from arks.local.render import held
    from arks.local.render.table import wrapped
    from arks.local.render.top import as_data, as_text

    async with on_bus(home) as bus:
        if live:
            await _show(bus, namespace, f"namespace {namespace}" if namespace else "all namespaces")
            return
        async with replica_rows(bus, namespace) as rows, held_view(bus, namespace) as waiting:
            await asyncio.gather(wait_for_load(rows), wait_for_held())
            if output is None:
                width = terminal_width()
                sentences = (part for item in waiting() for part in wrapped(held.sentence(item), width))
                print_text(copyable(as_text(rows(), width)) + "".join(f"{line}\n" for line in sentences))
            else:
                print_data({"replicas": as_data(rows()), "held": held.as_data(waiting())}, output)


async def _show(bus: "BusReader", namespace: str | None, where: str) -> None:
    """Until q or Ctrl-C."""
    from arks.local.cli.full_screen import full_screen
    from arks.local.render.top_screen import SORTS, View, screen, total

    keys: asyncio.Queue[str] = asyncio.Queue(maxsize=_MOST_KEYS)
    speeds: deque[float] = deque(maxlen=_HISTORY)
    sorts, columns = deque(SORTS), False
    async with load_view(bus, namespace) as current, held_view(bus, namespace) as waiting:
        with full_screen(keys) as terminal:
            while True:
                rows, endpoints = current()
                speeds.append(total(rows, lambda row: row.generation_tokens_per_second))
                key: str | None = ""
                until = asyncio.get_running_loop().time() + _REFRESH_SECONDS
                while key is not None:
                    size = shutil.get_terminal_size()
                    view = View(where, rows, endpoints, list(speeds), datetime.now(UTC), sorts[0], columns, waiting())
                    terminal.show(screen(view, size.columns, size.lines), (size.columns, size.lines))
                    key = await _key(keys, until)
                    if key == "q":
                        return
                    if key == "s":
                        sorts.rotate(-1)
                    columns ^= key == "?"


async def _key(keys: "asyncio.Queue[str]", until: float) -> str | None:
    """The next key; None at the time of the next frame."""
    try:
        async with asyncio.timeout_at(until):
            return await keys.get()
    except TimeoutError:
        return None
