"""Query endpoint-router's explanation of an endpoint."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from arks.local.cli.connection import cluster_of, running_state
from arks.local.cli.failure import fail
from arks.local.cli.home import ClusterHome, Home
from arks.local.files.paths import Paths
from arks.local.plan.addresses import HOST

SERVICE = "endpoint-router"
_TIMEOUT_SECONDS = 10.0


def explanation(home: Home, namespace: str, endpoint: str) -> dict[str, Any]:
    """The newest decision about an endpoint and the last ones that changed something. Raises Failure."""
    path = f"/explain/{quote(namespace, safe='')}/{quote(endpoint, safe='')}"
    try:
        status, text = _of_cluster(home, path) if isinstance(home, ClusterHome) else _of_machine(home, path)
    except (OSError, TimeoutError) as error:
        fail(f"{SERVICE} does not answer: {str(error) or type(error).__name__}", "see `arks status`")
    if status != 200:
        fail(f"{SERVICE} answered {status}: {text.strip()[:200]}", f"see `arks logs {SERVICE}`")
    data: dict[str, Any] = json.loads(text)
    return data


def _of_machine(home: Path, path: str) -> tuple[int, str]:
    """Status and body. Raises OSError."""
    import http.client

    paths = Paths.of(home)
    connection = http.client.HTTPConnection(HOST, running_state(paths).ports[SERVICE], timeout=_TIMEOUT_SECONDS)
    try:
        token = paths.operator_token.read_text().strip()
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise OSError(str(error) or type(error).__name__) from error
    finally:
        connection.close()


def _of_cluster(home: ClusterHome, path: str) -> tuple[int, str]:
    """As `_of_machine`, at one replica of the router: all decide alike. Raises OSError."""
    import aiohttp

    async def queried() -> tuple[int, str]:
        async with cluster_of(home) as cluster:
            headers = {"Authorization": f"Bearer {await cluster.secret('operator-token')}"}
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
            async with (
                cluster.forwarded(SERVICE, "health") as port,
                aiohttp.ClientSession(timeout=timeout) as client,
                client.get(f"http://{HOST}:{port}{path}", headers=headers) as answer,
            ):
                return answer.status, await answer.text()

    try:
        return asyncio.run(queried())
    except aiohttp.ClientError as error:
        raise OSError(str(error) or type(error).__name__) from error
