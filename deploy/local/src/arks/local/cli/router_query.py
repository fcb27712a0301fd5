"""Query endpoint-router's explanation of an endpoint."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from arks.local.cli.connection import running_state
from arks.local.cli.failure import fail
from arks.local.cli.home import ClusterHome, Home
from arks.local.cli.service_query import TIMEOUT_SECONDS, of_cluster, of_machine
from arks.local.files.paths import Paths
from arks.local.plan.addresses import HOST

SERVICE = "endpoint-router"


def explanation(home: Home, namespace: str, endpoint: str) -> dict[str, Any]:
    """The newest decision about an endpoint and the last ones that changed something. Raises Failure."""
    path = f"/explain/{quote(namespace, safe='')}/{quote(endpoint, safe='')}"
    try:
        status, text = (
            of_cluster(home, SERVICE, "health", path) if isinstance(home, ClusterHome) else _of_machine(home, path)
        )
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
    connection = http.client.HTTPConnection(HOST, running_state(paths).ports[SERVICE], timeout=TIMEOUT_SECONDS)
    token = paths.operator_token.read_text().strip()
    return of_machine(connection, path, {"Authorization": f"Bearer {token}"})
