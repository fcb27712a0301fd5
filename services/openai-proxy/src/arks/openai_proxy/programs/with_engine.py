"""An engine and OpenAI's API for it as one program: what one machine runs as a replica.

usage: python -m arks.openai_proxy.programs.with_engine --host HOST --port PORT -- ENGINE ARGUMENT...

The engine gets `--host`, `--port` and `--http-port` as its last words. If either ends, the other is ended, and the
program exits with status 1 unless it was stopped by SIGTERM or SIGINT. SIGTERM ends requests first, then the engine.
"""

import argparse
import asyncio
import signal
from dataclasses import dataclass

import structlog
import uvicorn
import uvloop

from arks.kit.ports import free_port
from arks.kit.process import end, spawn
from arks.kit.telemetry import configure_logging
from arks.openai_proxy.config import Settings
from arks.openai_proxy.main import build

log = structlog.get_logger(__name__)
LOOPBACK = "127.0.0.1"
ENGINE_GRACE_SECONDS = 3.0
"""Its generations have ended with the requests."""
REQUESTS_GRACE_SECONDS = 30
KEEP_ALIVE_SECONDS = 3700
"""Longer than gateways keep idle connections: the side that closes must be the client."""


@dataclass(frozen=True)
class Options:
    host: str
    port: int
    engine: list[str]
    """Its command."""


def read(arguments: list[str] | None) -> Options:
    """Exits with a message if the options are invalid."""
    parser = argparse.ArgumentParser("with_engine", allow_abbrev=False)
    parser.add_argument("--host", default=LOOPBACK, help="address of the API")
    parser.add_argument("--port", type=int, required=True, help="port of the API")
    parser.add_argument("engine", nargs="+", metavar="ENGINE", help="command of the engine, after --")
    found = parser.parse_args(arguments)
    return Options(found.host, found.port, found.engine)


async def run(options: Options) -> int:
    """Serve until SIGTERM or SIGINT, or until the engine ends. Returns the exit status."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn has its own handlers while it serves, and sends the signal once more at its end.
        asyncio.get_running_loop().add_signal_handler(number, lambda: None)
    grpc_port = free_port()
    engine = await spawn([*options.engine, "--host", LOOPBACK, "--port", str(grpc_port), "--http-port", "0"])
    settings = Settings(HTTP_FORWARD_GRPC_HOST=LOOPBACK, HTTP_FORWARD_GRPC_PORT=grpc_port)
    server = uvicorn.Server(
        uvicorn.Config(
            build(settings),
            host=options.host,
            port=options.port,
            log_config=None,
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=REQUESTS_GRACE_SECONDS,
        )
    )
    serving, ending = asyncio.ensure_future(server.serve()), asyncio.ensure_future(engine.wait())
    await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
    engine_failed = ending.done()
    if engine_failed:
        log.error("the engine ended", status=engine.returncode)
        server.should_exit = True
    try:
        await serving
    finally:
        await end(engine, grace_seconds=ENGINE_GRACE_SECONDS)
        await ending
    return int(engine_failed)


def main(arguments: list[str] | None = None) -> None:
    configure_logging("openai-proxy")
    raise SystemExit(uvloop.run(run(read(arguments))))


if __name__ == "__main__":
    main()
