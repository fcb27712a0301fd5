"""`arks top`, `arks explain`, `arks events`: what happens now and what has happened."""

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arks.local.cli.common import (
    NO_HOME,
    AllNamespacesOption,
    Exit,
    HomeOption,
    NamespaceOption,
    Output,
    OutputOption,
    connected,
    fail,
    run,
    say,
)

if TYPE_CHECKING:
    from arks.local.client.store import Store
    from arks.local.render.top import Row

_FIRST_LOAD_SECONDS = 3.0
"""How long the first reports are waited for: metrics reports a replica that is alone and idle once a second or less."""
_LOOK_SECONDS = 0.05
_REFRESH_SECONDS = 0.5


def top(
    namespace: NamespaceOption = "default",
    all_namespaces: AllNamespacesOption = False,
    once: Annotated[bool, typer.Option("--once", help="Print one table and end.")] = False,
    output: OutputOption = None,
    home: HomeOption = NO_HOME,
) -> None:
    """Show how busy each replica is, live: requests running and waiting, KV cache, tokens a second, weight.

    \b
    arks top
    arks top -A --once
    arks top -o json
    """
    place = None if all_namespaces else namespace
    live = output is None and not once and _is_terminal()
    run(_top(home, place, output, live))


def _is_terminal() -> bool:
    import sys

    return sys.stdout.isatty()


async def _top(home: Path, namespace: str | None, output: Output | None, live: bool) -> None:
    from arks.local.render import resources as render
    from arks.local.render.top import as_data, as_text

    if live:
        from rich.live import Live  # noqa: F401  # before `connected` hides rich from others
    async with connected(home) as store, _replicas(store, namespace) as rows:
        if live:
            await _show(lambda: as_text(rows()))
            return
        await _first_load(rows)
        if output is None:
            say(as_text(rows()))
        else:
            data = {"replicas": as_data(rows())}
            say(render.to_json(data) if output == Output.JSON else render.to_yaml(data))


class _replicas:  # noqa: N801  # used as a context manager, as if it were a function
    """Rows of all replicas, current at each call."""

    def __init__(self, store: "Store", namespace: str | None) -> None:
        from contextlib import AsyncExitStack

        self._store = store
        self._namespace = namespace
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Callable[[], list[Row]]":
        from arks.contracts.subjects import Facts
        from arks.events.v1.facts_pb2 import EndpointFact, ReplicasFact
        from arks.events.v1.load_pb2 import LoadReport
        from arks.local.render.top import rows

        loads: dict[tuple[str, str], LoadReport] = {}
        await self._store.follow_load(loads)
        replicas = await self._stack.enter_async_context(self._store.followed_facts(Facts.REPLICAS, ReplicasFact))
        endpoints = await self._stack.enter_async_context(self._store.followed_facts(Facts.ENDPOINTS, EndpointFact))

        def current() -> "list[Row]":
            chosen = [fact for fact in replicas.cache.values() if self._namespace in {None, fact.namespace}]
            return rows(chosen, endpoints.cache.values(), loads, datetime.now(UTC))

        return current

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()


async def _first_load(rows: "Callable[[], list[Row]]") -> None:
    """Until all ready replicas have been reported, or until one that is silent has been waited for long enough."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_FIRST_LOAD_SECONDS):
            while any(row.state == "Ready" and row.age_seconds is None for row in rows()):  # noqa: ASYNC110  # of many sources
                await asyncio.sleep(_LOOK_SECONDS)


async def _show(text: "Callable[[], str]") -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(Text(text()), auto_refresh=False, screen=True) as live:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            live.update(Text(text() + "\nCtrl-C ends this"), refresh=True)


def explain(
    endpoint: Annotated[str, typer.Argument(metavar="ENDPOINT", help="Name of an ArksEndpoint.")],
    namespace: NamespaceOption = "default",
    home: HomeOption = NO_HOME,
) -> None:
    """Say why the traffic of an endpoint goes where it goes: replicas, signals, weights and reasons.

    \b
    arks explain smollm2
    """
    run(_explain(home, endpoint, namespace))


async def _explain(home: Path, name: str, namespace: str) -> None:
    from arks.contracts.resources import ArksEndpoint
    from arks.kit.reconcile import Key
    from arks.local.cli.get import not_found
    from arks.local.render.explain import as_text

    async with connected(home) as store:
        found = await store.read(ArksEndpoint, Key(namespace, name))
        if found is None:
            raise not_found(ArksEndpoint, name, namespace)
        async with _replicas(store, namespace) as rows:
            await _first_load(rows)
            say(as_text(found, rows(), datetime.now(UTC)))


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on and print each as it happens.")] = False,
    kind: Annotated[
        str | None, typer.Option("--kind", help="model, application, endpoint, scaling, quota or token.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only about this.")] = None,
    since: Annotated[str, typer.Option("--since", help="How far back: 90s, 15m, 2h, 7d.")] = "1h",
    namespace: NamespaceOption = "default",
    all_namespaces: AllNamespacesOption = False,
    output: OutputOption = None,
    home: HomeOption = NO_HOME,
) -> None:
    """Say what has happened, oldest first. With -o json: a CloudEvent a line.

    \b
    arks events
    arks events -f -A
    arks events --kind model --since 1d -o json
    """
    from arks.contracts.subjects import EventKind

    if kind is not None and kind not in set(EventKind):
        fail(f"there is no kind of event {kind!r}", f"kinds: {', '.join(EventKind)}", Exit.USAGE)
    place = None if all_namespaces else namespace
    start = datetime.now(UTC) - parse_duration(since)
    run(_events(home, (place, name, kind), start, follow, output))


async def _events(
    home: Path,
    about_what: tuple[str | None, str | None, str | None],
    start: datetime,
    follow: bool,
    output: Output | None,
) -> None:
    from arks.local.client.event_log import about
    from arks.local.render.events import header, line, to_json_line

    namespaces, width, count = about_what[0] is None, _width(), 0
    async with connected(home) as store:
        async for event in store.events(about(*about_what), start, follow=follow):
            if output is not None:
                say(to_json_line(event))
                continue
            if count == 0:
                say(header(namespaces=namespaces))
            count += 1
            say(line(event, datetime.now(UTC), namespaces=namespaces, width=width))
    if count == 0 and output is None:
        typer.echo("No events.", err=True)


def _width() -> int:
    """Of the terminal; without one nothing is cut."""
    return shutil.get_terminal_size().columns if _is_terminal() else 10_000


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str) -> timedelta:
    """`90s`, `15m`, `2h`, `7d`. Raises Failure."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdigit() or len(number) > 6:
        fail(f"{text!r} is not a length of time", "write 90s, 15m, 2h or 7d", Exit.USAGE)
    return timedelta(**{_UNITS[unit]: int(number)})


def add_to(app: typer.Typer) -> None:
    for command in (top, explain, events):
        app.command()(command)
