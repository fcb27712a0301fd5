"""Engines and OpenAI's API for them as one program: what one machine runs as a replica.

usage: python -m arks.openai_proxy.programs.with_engine --host HOST --port PORT -- ENGINE ARGUMENT...
       python -m arks.openai_proxy.programs.with_engine --host HOST --port PORT --prefillers 1 --decoders 2
           [--prefill-arguments JSON] [--decode-arguments JSON] -- ENGINE ARGUMENT...

Each engine gets `--host`, `--port` and `--http-port` as its last words; with prefill and decode apart also `--role` and
the arguments of its stage, a list as JSON. If any process ends, the others are ended, and the program exits with status
1 unless it was stopped by SIGTERM or SIGINT. SIGTERM ends requests first, then the engines.
"""

import argparse
import asyncio
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

import structlog
import uvicorn
import uvloop

from arks.kit.ports import free_port
from arks.kit.process import end, freeze_what_is_loaded, spawn
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
    prefillers: int = 0
    decoders: int = 0
    """0: one engine does both."""
    prefill_arguments: tuple[str, ...] = ()
    decode_arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Start:
    """How one engine is started."""

    command: list[str]
    port: int
    prefillers: str = ""
    """PREFILL_NODE_IP; empty: it has none."""


def starts(options: Options, free: Callable[[], int]) -> tuple[list[Start], list[Start]]:
    """The engines that the proxy calls, and those that it does not. `free` picks a port."""
    if not options.decoders:
        port = free()
        return [Start([*options.engine, *_addresses(port)], port)], []
    prefillers = [_stage(options, "prefiller", options.prefill_arguments, free()) for _ in range(options.prefillers)]
    known = ",".join(f"{LOOPBACK}:{prefiller.port}" for prefiller in prefillers)
    decoders = [_stage(options, "decoder", options.decode_arguments, free(), known) for _ in range(options.decoders)]
    return decoders, prefillers


def _stage(options: Options, role: str, arguments: tuple[str, ...], port: int, prefillers: str = "") -> Start:
    return Start([*options.engine, *arguments, "--role", role, *_addresses(port)], port, prefillers)


def _addresses(port: int) -> list[str]:
    return ["--host", LOOPBACK, "--port", str(port), "--http-port", "0"]


def read(arguments: list[str] | None) -> Options:
    """Exits with a message if the options are invalid."""
    parser = argparse.ArgumentParser("with_engine", allow_abbrev=False)
    parser.add_argument("--host", default=LOOPBACK, help="address of the API")
    parser.add_argument("--port", type=int, required=True, help="port of the API")
    parser.add_argument("--prefillers", type=int, default=0, help="engines that process prompts for decoders")
    parser.add_argument("--decoders", type=int, default=0, help="engines that generate; 0: one engine does both")
    parser.add_argument("--prefill-arguments", type=_words, default=(), help="more words of prefillers, as JSON")
    parser.add_argument("--decode-arguments", type=_words, default=(), help="more words of decoders, as JSON")
    parser.add_argument("engine", nargs="+", metavar="ENGINE", help="command of the engine, after --")
    found = parser.parse_args(arguments)
    if bool(found.prefillers) != bool(found.decoders):
        parser.error("--prefillers and --decoders need each other")
    return Options(**vars(found))


def _words(text: str) -> tuple[str, ...]:
    words = json.loads(text)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(text)
    return tuple(words)


async def run(options: Options) -> int:
    """Serve until SIGTERM or SIGINT, or until the engine ends. Returns the exit status."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn has its own handlers while it serves, and sends the signal once more at its end.
        asyncio.get_running_loop().add_signal_handler(number, lambda: None)
    called, others = starts(options, free_port)
    engines = [await _spawned(start) for start in (*called, *others)]
    targets = ",".join(f"{LOOPBACK}:{start.port}" for start in called)
    settings = Settings(HTTP_FORWARD_GRPC_HOST=targets)
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
    freeze_what_is_loaded()
    serving = asyncio.ensure_future(server.serve())
    endings = [asyncio.ensure_future(engine.wait()) for engine in engines]
    await asyncio.wait({serving, *endings}, return_when=asyncio.FIRST_COMPLETED)
    ended = [engine.returncode for engine, ending in zip(engines, endings, strict=True) if ending.done()]
    if ended:
        log.error("the engine ended", status=ended[0])
        server.should_exit = True
    try:
        await serving
    finally:
        await asyncio.gather(*(end(engine, grace_seconds=ENGINE_GRACE_SECONDS) for engine in engines))
        await asyncio.gather(*endings)
    return int(bool(ended))


async def _spawned(start: Start) -> asyncio.subprocess.Process:
    return await spawn(start.command, environment={**os.environ, "PREFILL_NODE_IP": start.prefillers})


def main(arguments: list[str] | None = None) -> None:
    configure_logging("openai-proxy")
    raise SystemExit(uvloop.run(run(read(arguments))))


if __name__ == "__main__":
    main()
