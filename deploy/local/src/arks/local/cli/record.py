"""`arks record`: what an endpoint's decisions are made from, as a trace for `arks replay`."""

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arks.local.cli.connection import on_bus
from arks.local.cli.given_options import copyable
from arks.local.cli.home import Home
from arks.local.cli.options import NO_HOME, NO_NAMESPACE, EndpointArgument, HomeOption, NamespaceOption
from arks.local.cli.reading import read
from arks.local.cli.replica_rows import FIRST_LOAD_SECONDS
from arks.local.cli.targets import select
from arks.local.render.kinds import ENDPOINT

if TYPE_CHECKING:
    from arks.local.client.recording import Recording


def record(
    endpoint: EndpointArgument,
    seconds: Annotated[float, typer.Option("--seconds", min=1.0, max=86_400.0, help="How long to record.")] = 60.0,
    namespace: NamespaceOption = NO_NAMESPACE,
    home: HomeOption = NO_HOME,
) -> None:
    """Record what the decisions of an endpoint are made from: its spec, replicas, and load reports.

    Prints a line of JSON for each change. `arks replay` takes the decisions again, also with another spec. A trace
    has names and addresses of replicas, and no prompts and no keys.

    \b
    arks record smollm2 --seconds 300 > trace.jsonl
    arks replay trace.jsonl --policy endpoint.yaml
    """
    (found,) = select(ENDPOINT, read(home, [ENDPOINT])[ENDPOINT], [endpoint], namespace)
    lines = asyncio.run(_record(home, found, seconds))
    typer.echo(copyable(f"{lines} lines of {seconds:g} s; `arks replay FILE` takes the decisions again"), err=True)


async def _record(home: Home, endpoint: dict[str, Any], seconds: float) -> int:
    """Returns the number of lines."""
    from arks.contracts.subjects import Facts
    from arks.events.v1.facts_pb2 import ReplicasFact
    from arks.local.client.recording import Recording

    recording = Recording(endpoint, _print_line)
    async with on_bus(home) as bus, bus.watched_facts(Facts.REPLICAS, ReplicasFact) as replicas:
        await bus.subscribe_load(recording.take_load)
        await _first_report(recording)
        recording.begin(replicas.cache.values())
        replicas.cache.subscribe(lambda key: recording.take_replicas(key, replicas.cache.get(key)))
        await asyncio.sleep(seconds)
        return recording.end()


async def _first_report(recording: "Recording") -> None:
    """Wait for a load report, whose clock the trace has; without one in time it has this machine's."""
    try:
        async with asyncio.timeout(FIRST_LOAD_SECONDS):
            await recording.first_report.wait()
    except TimeoutError:
        typer.echo("no load is reported: the trace has replicas only", err=True)


def _print_line(line: dict[str, Any]) -> None:
    print(json.dumps(line, separators=(",", ":")), flush=not sys.stdout.isatty())
