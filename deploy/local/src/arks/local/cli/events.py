"""`arks events`: list or follow events."""

import asyncio
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from arks.local.cli.connection import connected
from arks.local.cli.failure import Exit, fail
from arks.local.cli.options import NO_HOME, AllNamespacesOption, HomeOption, NamespaceOption, Output, OutputOption
from arks.local.cli.output import print_text

_KIND_HELP = "model, application, endpoint, quota or token."
_FOLLOW_HELP = "Follow: print new events as they occur."
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help=_FOLLOW_HELP)] = False,
    kind: Annotated[str | None, typer.Option("--kind", help=_KIND_HELP)] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only events of this resource.")] = None,
    since: Annotated[str, typer.Option("--since", help="Age of the oldest event: 90s, 15m, 2h, 7d.")] = "1h",
    namespace: NamespaceOption = "default",
    all_namespaces: AllNamespacesOption = False,
    output: OutputOption = None,
    home: HomeOption = NO_HOME,
) -> None:
    """List events, oldest first. -o json prints one CloudEvent per line.

    \b
    arks events
    arks events -f -A
    arks events --kind model --since 1d -o json
    """
    from arks.contracts.subjects import EventKind

    if kind is not None and kind not in set(EventKind):
        fail(f"there is no kind of event {kind!r}", f"kinds: {', '.join(EventKind)}", Exit.USAGE)
    subject = (None if all_namespaces else namespace, name, kind)
    start = datetime.now(UTC) - parse_duration(since)
    asyncio.run(_events(home, subject, start, follow, output))


async def _events(
    home: Path,
    subject: tuple[str | None, str | None, str | None],
    start: datetime,
    follow: bool,
    output: Output | None,
) -> None:
    """`subject`: namespace, name and kind; None: any."""
    from arks.local.client.event_log import events_subject
    from arks.local.render.events import header, line, to_json_line, to_yaml_document

    namespaces, width, count = subject[0] is None, _width(), 0
    async with connected(home) as store:
        async for event in store.events(events_subject(*subject), start, follow=follow):
            if output is not None:
                print_text(to_json_line(event) if output == Output.JSON else to_yaml_document(event))
                continue
            if count == 0:
                print_text(header(namespaces=namespaces))
            count += 1
            print_text(line(event, datetime.now(UTC), namespaces=namespaces, width=width))
    if count == 0 and output is None:
        typer.echo("No events.", err=True)


def _width() -> int:
    """The width of the terminal; without a terminal nothing is cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000


def parse_duration(text: str) -> timedelta:
    """`90s`, `15m`, `2h`, `7d`. Raises Failure."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdigit() or len(number) > 6:
        fail(f"{text!r} is not a duration", "write 90s, 15m, 2h or 7d", Exit.USAGE)
    return timedelta(**{_UNITS[unit]: int(number)})
