"""Official OpenAI clients, unmodified, without retries, so that every error shows."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import openai

ClientOf = Callable[[str], openai.AsyncOpenAI]
"""API key -> client."""


@asynccontextmanager
async def clients(base_url: str, timeout_seconds: float) -> AsyncIterator[ClientOf]:
    """Yields a function that makes clients; all of them are closed at the end."""
    async with AsyncExitStack() as opened:

        def client_of(key: str) -> openai.AsyncOpenAI:
            client = openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=timeout_seconds)
            opened.push_async_callback(client.close)
            return client

        yield client_of
