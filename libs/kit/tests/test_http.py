import socket
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from arks.kit.http import HealthServer
from arks.kit.ports import ALL_FAMILIES, authority


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")
async def test_on_all_families_clients_of_both_are_answered(address: str) -> None:
    server = HealthServer(ALL_FAMILIES, 0, CollectorRegistry(), list)
    port = await server.start()
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{authority(address, port)}/healthz") as answer,
        ):
            assert 200 == answer.status
    finally:
        await server.stop()


async def test_a_port_in_use_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = HealthServer("127.0.0.1", taken.getsockname()[1], CollectorRegistry(), list)
        with pytest.raises(OSError, match="in use"):
            await server.start()
        await server.stop()


@pytest.mark.parametrize(
    ("host", "expected"), [("::", "[::]:80"), ("router", "router:80"), ("10.0.0.1", "10.0.0.1:80")]
)
def test_an_ipv6_address_is_in_brackets_before_its_port(host: str, expected: str) -> None:
    assert expected == authority(host, 80)
