"""The resources of the running Arks, for commands that only look."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from arks.local.cli.connection import running_state
from arks.local.cli.failure import Exit, Failure, fail
from arks.local.cli.home import ClusterHome, Home
from arks.local.files.paths import Paths
from arks.local.render.kinds import SECRET, Kind


def read(home: Home, kinds: Sequence[Kind]) -> dict[Kind, list[dict[str, Any]]]:
    """All resources of the kinds as plain data, sorted by namespace and name. Raises Failure.

    On a cluster only those of the namespace that the command is about.
    """
    if isinstance(home, ClusterHome):
        import asyncio

        return asyncio.run(_of_cluster(home, kinds))
    from arks.local.client.snapshot import SnapshotUnavailable, read_resources

    paths = Paths.of(home)
    state = running_state(paths)
    stored = [kind for kind in kinds if kind is not SECRET]
    try:
        found = (
            read_resources(state.ports["nats"], paths.nats_token, [kind.plural for kind in stored]) if stored else {}
        )
    except SnapshotUnavailable as error:
        raise Failure(str(error), "see `arks status` and `arks logs nats`") from error
    resources = {kind: found[kind.plural] for kind in stored}
    return resources | ({SECRET: _secrets(home)} if SECRET in kinds else {})


def _secrets(home: Path) -> list[dict[str, Any]]:
    import asyncio

    from arks.contracts.resources import Secret
    from arks.local.cli.connection import on_this_machine

    async def listed() -> list[dict[str, Any]]:
        async with on_this_machine(home) as store:
            return await store.list(Secret)

    return asyncio.run(listed())


async def _of_cluster(home: ClusterHome, kinds: Sequence[Kind]) -> dict[Kind, list[dict[str, Any]]]:
    """Kinds that the person may not list are left out, with a warning, unless all are."""
    from arks.contracts.resources import KINDS
    from arks.kit.errors import Invalid
    from arks.local.cli.connection import cluster_of

    if SECRET in kinds:
        fail("Secrets of a cluster are not shown here", "use `kubectl get secrets`", Exit.USAGE)
    found: dict[Kind, list[dict[str, Any]]] = {}
    refused: list[Invalid] = []
    async with cluster_of(home) as cluster:
        for kind in kinds:
            try:
                found[kind] = await cluster.list(KINDS[kind.name])
            except Invalid as error:
                refused.append(error)
                found[kind] = []
        if len(refused) == len(found) > 0:
            raise refused[0]
    for refusal in refused:
        typer.echo(f"warning: {refusal}", err=True)
    return found
