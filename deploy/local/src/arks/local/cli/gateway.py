"""The gateway's URL, as commands reach it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from arks.local.cli.connection import cluster_of, running_state
from arks.local.cli.failure import Failure
from arks.local.cli.home import ClusterHome, Home
from arks.local.files.paths import Paths
from arks.local.plan.addresses import GATEWAY, HOST, gateway_url


@contextmanager
def gateway_of(home: Home) -> Iterator[tuple[str, Path | None]]:
    """The URL of the API, and the file with the demo's key if there is a demo. Raises Failure."""
    if isinstance(home, ClusterHome):
        with _forwarded(home) as port:
            yield f"http://{HOST}:{port}/v1", None
    else:
        paths = Paths.of(home)
        yield gateway_url(running_state(paths).ports[GATEWAY]), paths.demo_key


@contextmanager
def _forwarded(home: ClusterHome) -> Iterator[int]:
    """A port of loopback that a thread forwards to a gateway's pod. Raises Failure."""
    loop = asyncio.new_event_loop()

    def run() -> None:
        """Ends as `asyncio.run` does, so that connections that were just closed are."""
        with asyncio.Runner(loop_factory=lambda: loop):
            loop.run_forever()

    thread = threading.Thread(target=run, name="port-forward", daemon=True)
    thread.start()
    context = _open(home)
    try:
        port = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result()
        try:
            yield port
        finally:
            asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@asynccontextmanager
async def _open(home: ClusterHome) -> AsyncIterator[int]:
    async with cluster_of(home) as cluster:
        if await cluster.has_port("gateway", "https"):
            raise Failure(
                "this gateway serves HTTPS with a certificate of its own name, so it is not reached by a port-forward",
                "use its URL: OPENAI_BASE_URL=https://HOST/v1 and any client of OpenAI",
            )
        async with cluster.forwarded("gateway", "http") as port:
            yield port
