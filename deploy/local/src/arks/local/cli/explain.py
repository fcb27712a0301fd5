"""`arks explain`: the reasons for an endpoint's weights."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from arks.local.cli.connection import connected
from arks.local.cli.options import NO_HOME, HomeOption, NamespaceOption
from arks.local.cli.output import print_text
from arks.local.cli.replica_rows import replica_rows, wait_for_load
from arks.local.cli.targets import not_found
from arks.local.render.kinds import ENDPOINT


def explain(
    endpoint: Annotated[str, typer.Argument(metavar="ENDPOINT", help="Name of an ArksEndpoint.")],
    namespace: NamespaceOption = "default",
    home: HomeOption = NO_HOME,
) -> None:
    """Show the weights of an endpoint's replicas, with reasons.

    \b
    arks explain smollm2
    """
    asyncio.run(_explain(home, endpoint.rpartition("/")[2], namespace))


async def _explain(home: Path, name: str, namespace: str) -> None:
    from arks.contracts.resources import ArksEndpoint
    from arks.kit.key import Key
    from arks.local.render.explain import as_text

    async with connected(home) as store:
        endpoint = await store.read(ArksEndpoint, Key(namespace, name))
        if endpoint is None:
            raise not_found(ENDPOINT, name, namespace, await store.list(ArksEndpoint))
        async with replica_rows(store, namespace) as rows:
            await wait_for_load(rows)
            print_text(as_text(endpoint, rows(), datetime.now(UTC)))
