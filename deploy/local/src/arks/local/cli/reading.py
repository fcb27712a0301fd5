"""The resources of the running Arks, for commands that only look."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arks.local.cli.connection import running_state
from arks.local.cli.failure import Failure
from arks.local.files.paths import Paths
from arks.local.render.kinds import SECRET, Kind


def read(home: Path, kinds: Sequence[Kind]) -> dict[Kind, list[dict[str, Any]]]:
    """All resources of the kinds as plain data, sorted by namespace and name. Raises Failure."""
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
    from arks.local.cli.connection import connected

    async def listed() -> list[dict[str, Any]]:
        async with connected(home) as store:
            return await store.list(Secret)

    return asyncio.run(listed())
