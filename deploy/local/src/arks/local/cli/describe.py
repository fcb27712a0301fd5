"""`arks describe`: everything about a resource."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from arks.local.cli.connection import on_bus
from arks.local.cli.failure import Failure
from arks.local.cli.home import ClusterHome, Home
from arks.local.cli.options import NO_HOME, NO_NAMESPACE, HomeOption, NamespaceOption, OutputOption, TargetsArgument
from arks.local.cli.output import print_data, print_text
from arks.local.cli.reading import read
from arks.local.cli.targets import select, targets
from arks.local.files.paths import Paths
from arks.local.render.kinds import AUTOSCALER, ENDPOINT, Kind

if TYPE_CHECKING:
    from arks.local.client.bus_reader import BusReader
    from arks.local.render.describe import LogTail
    from arks.local.render.events import Event
    from arks.local.render.held import Held

_MAX_EVENTS = 15
_MAX_LINES = 15


def describe(
    resources: TargetsArgument,
    namespace: NamespaceOption = NO_NAMESPACE,
    output: OutputOption = None,
    home: HomeOption = NO_HOME,
) -> None:
    """Show a resource's spec, status, conditions, logs and events.

    \b
    arks describe application smollm2
    arks describe model/smollm2 endpoint/smollm2
    """
    chosen = targets(resources)
    kinds = {target.kind: None for target in chosen}
    existing = read(home, [*kinds, AUTOSCALER] if ENDPOINT in kinds and output is None else [*kinds])
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
    asyncio.run(_describe(home, found, existing.get(AUTOSCALER, ())))


async def _describe(
    home: Home, found: "Sequence[tuple[Kind, dict[str, Any]]]", autoscalers: "Sequence[dict[str, Any]]"
) -> None:
    from arks.local.render.describe import describe as render
    from arks.local.render.held import of_autoscalers

    events = await _all_events(home, found)
    now = datetime.now(UTC)
    held = of_autoscalers(autoscalers, now)
    texts = [
        render(item, events.get(id(item), ()), _log_tails(home, item), now, _held_for(kind, item, held))
        for kind, item in found
    ]
    print_text("\n\n".join(texts))


def _held_for(kind: Kind, resource: dict[str, Any], held: "Sequence[Held]") -> "list[Held]":
    """What waits for an endpoint."""
    if kind is not ENDPOINT:
        return []
    from arks.local.render.health import public_name

    wanted = resource["metadata"]["namespace"], public_name(resource)
    return [item for item in held if (item.namespace, item.model) == wanted]


async def _all_events(home: Home, found: "Sequence[tuple[Kind, dict[str, Any]]]") -> "dict[int, Sequence[Event]]":
    """The events of each resource by its identity. On a cluster not every person may read them."""
    try:
        async with on_bus(home) as bus:
            return {id(item): await _events(bus, kind, item) for kind, item in found}
    except Failure as failure:
        if not isinstance(home, ClusterHome):
            raise
        typer.echo(f"warning: without events of Arks: {failure}", err=True)
        return {}


async def _events(bus: "BusReader", kind: Kind, resource: dict[str, Any]) -> "Sequence[Event]":
    """The last events of the resource; resources of other kinds may have the same name."""
    from arks.local.client.event_log import events_subject

    subject = events_subject(resource["metadata"]["namespace"], resource["metadata"]["name"])
    found = [event async for event in bus.events(subject, None) if event.data.get("kind", kind.name) == kind.name]
    return found[-_MAX_EVENTS:]


def _log_tails(home: Home, resource: dict[str, Any]) -> "Sequence[LogTail]":
    """The ends of the logs of replicas that are not ready; on a cluster `kubectl logs` shows them."""
    if isinstance(home, ClusterHome):
        return ()
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
