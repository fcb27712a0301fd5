"""`arks explain`: the reasons for an endpoint's weights, and for the way of one request."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from arks.local.cli.connection import on_bus
from arks.local.cli.failure import Failure, fail
from arks.local.cli.home import Home
from arks.local.cli.options import (
    NO_HOME,
    NO_NAMESPACE,
    EndpointArgument,
    HomeOption,
    NamespaceOption,
    Output,
    OutputOption,
)
from arks.local.cli.output import print_data, print_text, terminal_width
from arks.local.cli.reading import read
from arks.local.cli.replica_rows import replica_rows, wait_for_load
from arks.local.cli.router_query import explanation
from arks.local.cli.targets import select
from arks.local.cli.times import parse_since
from arks.local.render.kinds import ENDPOINT, find_kind


def explain(
    endpoint: EndpointArgument,
    request: Annotated[
        str | None, typer.Option("--request", metavar="ID", help="Explain where this request went (`x-request-id`).")
    ] = None,
    since: Annotated[str, typer.Option("--since", help="Look for the request from here on: 15m, 2h, a date.")] = "1h",
    namespace: NamespaceOption = NO_NAMESPACE,
    output: OutputOption = None,
    home: HomeOption = NO_HOME,
) -> None:
    """Show the weights of an endpoint's replicas with reasons, and the last changes; or the way of one request.

    \b
    arks explain smollm2
    arks explain smollm2 --request 0198f3c2-77a1-7c1e-8f07-3f1c5a0d9b11
    arks explain smollm2 -o json
    """
    if "." in endpoint and find_kind(endpoint.partition(".")[0]) is not None:
        fail(f"explain shows why traffic goes where it goes, not the field {endpoint}", f"see `arks fields {endpoint}`")
    (found,) = select(ENDPOINT, read(home, [ENDPOINT])[ENDPOINT], [endpoint.rpartition("/")[2]], namespace)[:1]
    metadata = found["metadata"]
    try:
        decisions = explanation(home, metadata["namespace"], metadata["name"])
    except Failure as failure:
        if output is not None:
            raise  # programs need the decision, not its absence
        # statuses and requests have the rest
        typer.echo(f"without recent changes: {failure}", err=True)
        decisions = {"changes": []}
    if request is not None:
        start = parse_since(since, datetime.now(UTC))
        asyncio.run(_explain_request(home, metadata, decisions, request, start, output))
    elif output is not None:
        print_data(decisions, output)
    else:
        asyncio.run(_explain(home, found, decisions, namespace))


async def _explain(home: Home, endpoint: dict[str, Any], decisions: dict[str, Any], namespace: str) -> None:
    from arks.local.render.explain import as_text

    async with on_bus(home) as bus, replica_rows(bus, namespace) as rows:
        await wait_for_load(rows)
        print_text(as_text(endpoint, rows(), datetime.now(UTC), decisions, terminal_width()))


async def _explain_request(
    home: Home,
    metadata: dict[str, Any],
    decisions: dict[str, Any],
    request: str,
    since: datetime,
    output: Output | None,
) -> None:
    """Raises Failure."""
    from arks.local.render.decisions import request_data, request_text

    async with on_bus(home) as bus, aclosing(bus.requests(metadata["namespace"], since)) as requests:
        async for found in requests:
            if (found.id, found.endpoint) == (request, metadata["name"]):
                if output is not None:
                    print_data(request_data(found, decisions["changes"]), output)
                else:
                    print_text(request_text(found, decisions["changes"], terminal_width()))
                return
    fail(
        f"no request {request} of {metadata['name']} has ended since {since:%Y-%m-%d %H:%M} UTC",
        "ids are in `arks requests -o json`, and in the header x-request-id of answers",
    )
