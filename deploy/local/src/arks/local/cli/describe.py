"""`arks describe`: everything about a resource."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arks.local.cli.connection import connected
from arks.local.cli.options import NO_HOME, HomeOption, NamespaceOption
from arks.local.cli.output import print_text
from arks.local.cli.targets import kinds_and_names, select
from arks.local.files.paths import Paths

if TYPE_CHECKING:
    from arks.contracts.resources import Resource
    from arks.local.client.store import Store
    from arks.local.render.describe import LogTail
    from arks.local.render.events import Event

_MAX_EVENTS = 15
_MAX_LINES = 15
_NAME_HELP = "Resource name; omit it to describe all."


def describe(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Kind, as in application; or KIND/NAME.")],
    name: Annotated[str | None, typer.Argument(metavar="NAME", help=_NAME_HELP)] = None,
    namespace: NamespaceOption = "default",
    home: HomeOption = NO_HOME,
) -> None:
    """Show a resource's spec, status, conditions, logs and events.

    \b
    arks describe application smollm2
    arks describe model/smollm2
    """
    kinds, names = kinds_and_names(kind, [name] if name else [])
    asyncio.run(_describe(home, kinds[0], names, namespace))


async def _describe(home: Path, kind: "type[Resource]", names: Sequence[str], namespace: str) -> None:
    from arks.local.render.describe import describe as render

    async with connected(home) as store:
        texts = []
        for resource in select(kind, await store.list(kind), names, namespace):
            events = await _events(store, kind, resource)
            texts.append(render(resource, events, _log_tails(home, resource), datetime.now(UTC)))
    if not texts:
        typer.echo(f"No resources found in namespace {namespace}.", err=True)
    print_text("\n\n".join(texts))


async def _events(store: "Store", kind: "type[Resource]", resource: dict[str, Any]) -> "Sequence[Event]":
    """The last events of the resource; resources of other kinds may have the same name."""
    from arks.local.client.event_log import events_subject

    subject = events_subject(resource["metadata"]["namespace"], resource["metadata"]["name"])
    found = [
        event async for event in store.events(subject, None) if event.data.get("kind", kind.__name__) == kind.__name__
    ]
    return found[-_MAX_EVENTS:]


def _log_tails(home: Path, resource: dict[str, Any]) -> "Sequence[LogTail]":
    """The ends of the logs of replicas that are not ready."""
    from arks.local.files.engine_logs import engine_logs
    from arks.local.files.logs import last_lines
    from arks.local.render.describe import LogTail

    metadata, instances = resource["metadata"], (resource.get("status") or {}).get("instances", [])
    not_ready = {instance["name"] for instance in instances if instance["state"] != "Ready"}
    logs = engine_logs(Paths.of(home), metadata["namespace"], metadata["name"]) if not_ready else {}
    return [
        LogTail(f"Last lines of {replica}", last_lines(log, _MAX_LINES))
        for replica, log in logs.items()
        if replica in not_ready
    ]
