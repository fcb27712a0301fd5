"""`arks events`: list or follow events."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from arks.local.cli.connection import on_bus
from arks.local.cli.failure import Exit, fail
from arks.local.cli.home import Home
from arks.local.cli.missing import fail_if_missing, print_nothing, warn_of_missing
from arks.local.cli.options import (
    NO_HOME,
    NO_NAMESPACE,
    AllNamespacesOption,
    HomeOption,
    NamespaceOption,
    Output,
    OutputOption,
)
from arks.local.cli.output import print_text, terminal_width
from arks.local.cli.targets import targets
from arks.local.cli.times import parse_since

_KIND_OF = {
    "ArksModel": "model",
    "ArksApplication": "application",
    "ArksDisaggregatedApplication": "application",
    "ArksAutoscaler": "scaling",
    "ArksEndpoint": "endpoint",
    "ArksToken": "token",
    "ArksQuota": "quota",
}
_KINDS = tuple(dict.fromkeys(_KIND_OF.values()))
_WARNING_VERBS = frozenset(
    {"failed", "refused", "rejected", "exhausted", "not-ready", "replica-exited", "replica-removed"}
)
_KIND_HELP = "model, application, scaling, endpoint, quota or token."
_FOLLOW_HELP = "Follow: print new events as they occur."


def events(
    about: Annotated[str | None, typer.Option("--for", help="Only of this resource: KIND/NAME.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help=_FOLLOW_HELP)] = False,
    kind: Annotated[str | None, typer.Option("--kind", help=_KIND_HELP)] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only events of this resource.")] = None,
    warnings: Annotated[bool, typer.Option("--warnings", help="Only failures, rejections and exits.")] = False,
    since: Annotated[str, typer.Option("--since", help="Oldest event: 90s, 15m, 2h, 7d, or a date.")] = "1h",
    namespace: NamespaceOption = NO_NAMESPACE,
    all_namespaces: AllNamespacesOption = False,
    output: OutputOption = None,
    home: HomeOption = NO_HOME,
) -> None:
    """List events, oldest first. -o json prints one CloudEvent per line.

    \b
    arks events
    arks events --for app/smollm2
    arks events -f -A --warnings
    arks events --kind model --since 1d -o json
    """
    if kind is not None and kind not in _KINDS:
        fail(f"there is no kind of event {kind!r}", f"kinds: {', '.join(_KINDS)}", Exit.USAGE)
    named = []
    if about is not None:
        target = targets([about], named=True)[0]
        kind, name = _KIND_OF.get(target.kind.name), target.names[0]
        if kind is None:
            fail(f"{target.kind.name} has no events", f"kinds: {', '.join(_KINDS)}", Exit.USAGE)
        named = [(target.kind, name)]
    where = None if all_namespaces else namespace
    start = parse_since(since, datetime.now(UTC))
    if follow:
        warn_of_missing(home, named, where)
    count = asyncio.run(_events(home, (where, name, kind), start, _Wishes(follow, warnings, output)))
    if count == 0:
        fail_if_missing(home, named, where)
    if count == 0 and output is None:
        print_nothing("events", start, where)


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What the user wants to see of the events."""

    follow: bool
    warnings: bool
    output: Output | None


async def _events(
    home: Home, subject: tuple[str | None, str | None, str | None], start: datetime, wishes: _Wishes
) -> int:
    """How many were printed. `subject`: namespace, name and kind; None: any."""
    from arks.local.client.event_log import events_subject
    from arks.local.render.events import header, line, to_json_line, to_yaml_document

    namespaces, width, count = subject[0] is None, terminal_width(), 0
    async with on_bus(home) as bus:
        async for event in bus.events(events_subject(*subject), start, follow=wishes.follow):
            if wishes.warnings and event.type.partition(".")[2] not in _WARNING_VERBS:
                continue
            count += 1
            if wishes.output is not None:
                print_text(to_json_line(event) if wishes.output == Output.JSON else to_yaml_document(event))
                continue
            if count == 1:
                print_text(header(namespaces=namespaces, clock=wishes.follow, width=width))
            print_text(line(event, datetime.now(UTC), namespaces=namespaces, width=width, clock=wishes.follow))
    return count
