"""Envoy's metrics on the stats port, without the rest of its admin interface."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from arks.endpoint_router.adapters.envoy import ads_bootstrap, to_json
from arks.endpoint_router.testing.program import envoy_line
from arks.kit.ports import free_port
from arks.kit.testing.servers import serve

pytestmark = pytest.mark.real


@pytest_asyncio.fixture
async def stats(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Start an Envoy without xDS: it would wait for a router before it opens a port."""
    port = free_port()
    config = tmp_path / "envoy.json"
    bootstrap = json.loads(to_json(ads_bootstrap("test", "127.0.0.1", 1, free_port(), stats_port=port)))
    del bootstrap["dynamic_resources"], bootstrap["layered_runtime"]
    config.write_text(json.dumps(bootstrap))
    async with (
        serve(envoy_line(config), port, tmp_path),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client,
    ):
        yield client


@pytest.mark.parametrize("path", ["/metrics", "/metrics?filter=nothing"])
async def test_metrics_are_served_in_prometheus_format(stats: httpx.AsyncClient, path: str) -> None:
    answer = await stats.get(path)
    assert 200 == answer.status_code
    assert "# TYPE envoy_server_uptime gauge" in answer.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in ("/", "/config_dump", "/clusters", "/stats", "/stats/prometheus", "/metrics/..")),
        *(("GET", path) for path in ("/metrics/../config_dump", "/metrics%2f..%2fconfig_dump", "/metrics/config_dump")),
        *(("POST", path) for path in ("/quitquitquit", "/drain_listeners", "/metrics", "/healthcheck/fail")),
    ],
)
async def test_the_rest_of_the_admin_interface_is_unreachable(stats: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await stats.request(method, httpx.URL(str(stats.base_url), raw_path=path.encode()))
    assert (404, "") == (answer.status_code, answer.text)
    assert (await stats.get("/metrics")).is_success
