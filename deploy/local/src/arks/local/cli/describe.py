"""`arks describe`: everything about a resource."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from arks.local.cli.connection import connected
from arks.local.cli.options import NO_HOME, HomeOption, NamespaceOption, OutputOption, TargetsArgument
from arks.local.cli.output import print_data, print_text
from arks.local.cli.reading import read
from arks.local.cli.targets import select, targets
from arks.local.files.paths import Paths
from arks.local.render.kinds import Kind

if TYPE_CHECKING:
    from arks.local.client.store import Store
    from arks.local.render.describe import LogTail
    from arks.local.render.events import Event

_MAX_EVENTS = 15
_MAX_LINES = 15


def describe(
    resources: TargetsArgument,
    namespace: NamespaceOption = "default",
    output: OutputOption = None,
    home: HomeOption = NO_HOME,
) -> None:
    """Show a resource's spec, status, conditions, logs and events.

    \b
    arks describe application smollm2
    arks describe model/smollm2 endpoint/smollm2
    """
    chosen = targets(resources)
    existing = read(home, [target.kind for target in chosen])
    found = [
        (target.kind, item)
        for target in chosen
        for item in select(target.kind, existing[target.kind], target.names, namespace)
    ]
    if output is not None:
        print_data([item for _, item in found], output)
        return
    if not found:
        typer.echo(f"No resources found in namespace {namespace}.", err=True)
    asyncio.run(_describe(home, found))


async def _describe(home: Path, found: "Sequence[tuple[Kind, dict[str, Any]]]") -> None:
    from arks.local.render.describe import describe as render

    async with connected(home) as store:
        texts = [
            render(item, await _events(store, kind, item), _log_tails(home, item), datetime.now(UTC))
            for kind, item in found
        ]
    print_text("\n\n".join(texts))


async def _events(store: "Store", kind: Kind, resource: dict[str, Any]) -> "Sequence[Event]":
    """The last events of the resource; resources of other kinds may have the same name."""
    from arks.local.client.event_log import events_subject

    subject = events_subject(resource["metadata"]["namespace"], resource["metadata"]["name"])
    found = [event async for event in store.events(subject, None) if event.data.get("kind", kind.name) == kind.name]
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
