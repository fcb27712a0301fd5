"""A real API server that knows LeaderWorkerSets; their controller is played (testing/fake_cluster.py)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

from arks.kit.testing.kubernetes import ApiServer, api_server, kube_binaries
from arks.kit.testing.wait import eventually

_CRD = "lws-chart/templates/crds/leaderworkerset.x-k8s.io_leaderworkersets.yaml"


@asynccontextmanager
async def lws_api_server(directory: Path, *, audit: bool = False) -> AsyncIterator[ApiServer]:
    async with api_server(directory, audit=audit) as server:
        definition = yaml.safe_load((kube_binaries() / _CRD).read_text())
        del definition["spec"]["conversion"]  # by the controller, which is played here
        await server.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(definition))
        await eventually(lambda: _served(server), within_seconds=90, what="LeaderWorkerSets served")
        yield server


async def _served(server: ApiServer) -> bool:
    try:
        await server.kubectl("get", "leaderworkersets")
    except RuntimeError:
        return False
    return True
