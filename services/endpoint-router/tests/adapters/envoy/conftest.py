"""Fixtures: a factory of gateways, and a gateway with default settings."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from arks.endpoint_router.testing.gateway import Gateway, Gateways


@pytest_asyncio.fixture
async def gateways(tmp_path: Path) -> AsyncIterator[Gateways]:
    gateways = Gateways(tmp_path)
    yield gateways
    await gateways.stop()


@pytest_asyncio.fixture
async def gateway(gateways: Gateways) -> Gateway:
    return await gateways.start()
