"""`arks explain`: the reasons for an endpoint's weights."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from arks.local.cli.connection import on_bus
from arks.local.cli.home import Home
from arks.local.cli.options import NO_HOME, NO_NAMESPACE, HomeOption, NamespaceOption
from arks.local.cli.output import print_text
from arks.local.cli.reading import read
from arks.local.cli.replica_rows import replica_rows, wait_for_load
from arks.local.cli.targets import select
from arks.local.render.kinds import ENDPOINT


def explain(
    endpoint: Annotated[str, typer.Argument(metavar="ENDPOINT", help="Name of an ArksEndpoint.")],
    namespace: NamespaceOption = NO_NAMESPACE,
    home: HomeOption = NO_HOME,
) -> None:
    """Show the weights of an endpoint's replicas, with reasons.

    \b
    arks explain smollm2
    """
    found = select(ENDPOINT, read(home, [ENDPOINT])[ENDPOINT], [endpoint.rpartition("/")[2]], namespace)
    asyncio.run(_explain(home, found[0], namespace))


async def _explain(home: Home, endpoint: dict[str, Any], namespace: str) -> None:
    from arks.local.render.explain import as_text

    async with on_bus(home) as bus, replica_rows(bus, namespace) as rows:
        await wait_for_load(rows)
        print_text(as_text(endpoint, rows(), datetime.now(UTC)))
