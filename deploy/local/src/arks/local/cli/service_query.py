"""One GET of a service's HTTP interface: on this machine over a connection, on a cluster through a port-forward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arks.local.plan.addresses import HOST

if TYPE_CHECKING:
    import http.client
    from collections.abc import Mapping

    from arks.local.cli.home import ClusterHome

TIMEOUT_SECONDS = 10.0


def of_machine(
    connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Status and body; closes the connection. Raises OSError."""
    import http.client

    try:
        connection.request("GET", path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise OSError(str(error) or type(error).__name__) from error
    finally:
        connection.close()


def of_cluster(home: ClusterHome, service: str, port_name: str, path: str) -> tuple[int, str]:
    """As `of_machine`, at one replica of the service, with the operator's token. Raises OSError."""
    import asyncio

    import aiohttp

    from arks.local.cli.connection import cluster_of

    async def queried() -> tuple[int, str]:
        async with cluster_of(home) as cluster:
            headers = {"Authorization": f"Bearer {await cluster.secret('operator-token')}"}
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            async with (
                cluster.forwarded(service, port_name) as port,
                aiohttp.ClientSession(timeout=timeout) as client,
                client.get(f"http://{HOST}:{port}{path}", headers=headers) as answer,
            ):
                return answer.status, await answer.text()

    try:
        return asyncio.run(queried())
    except aiohttp.ClientError as error:
        raise OSError(str(error) or type(error).__name__) from error
