"""One running Arks for all journeys that do not damage it; the others start their own."""

from collections.abc import AsyncIterator, Iterator

import openai
import pytest
import pytest_asyncio

from arks.local.testing.harness import ArksHarness


@pytest.fixture(scope="session")
def arks_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArksHarness]:
    """The demo as `arks up` starts it."""
    platform = ArksHarness(tmp_path_factory.mktemp("arks"))
    platform.up()
    yield platform
    platform.down()


@pytest_asyncio.fixture
async def client(arks_up: ArksHarness) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, unmodified, without retries, so that every error shows."""
    async with openai.AsyncOpenAI(base_url=arks_up.url, api_key=arks_up.key, max_retries=0, timeout=120) as client:
        yield client
