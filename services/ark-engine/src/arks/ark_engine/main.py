"""Wiring of ark-engine."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
import uvloop
from prometheus_client import CollectorRegistry

from arks.ark_engine.adapters import llama_server
from arks.ark_engine.adapters.llama import HttpLlama
from arks.ark_engine.adapters.metrics import EngineMetrics
from arks.ark_engine.adapters.prefillers import Prefillers
from arks.ark_engine.api.server import EngineServer
from arks.ark_engine.config import Options, read
from arks.ark_engine.service.engine import Engine
from arks.ark_engine.service.kept_states import KeptStates
from arks.ark_engine.service.prompts import Prompts
from arks.ark_engine.service.slot_queue import SlotQueue
from arks.engine.v1.ark_pb2 import HealthResponse, Model, Role
from arks.kit.clock import SystemClock
from arks.kit.http import HealthServer
from arks.kit.machine import engine_threads, usable_cpus
from arks.kit.telemetry import configure_logging
from arks.kit.tracers import tracer_of

log = structlog.get_logger(__name__)
_ROLES = {"prefiller": Role.ROLE_PREFILLER, "decoder": Role.ROLE_DECODER, "both": Role.ROLE_BOTH}
_LLAMA_SILENT_SECONDS = 600.0
"""A prompt of a full context takes minutes on a slow processor."""


class Program:
    """One engine: every object, and how they are connected."""

    def __init__(self, options: Options, model: Path, directory: Path) -> None:
        self.options = options
        self.model = model
        self.directory = directory
        self.loaded = False
        clock, fingerprint = SystemClock(), llama_server.fingerprint(model)
        self.llama = HttpLlama(_LLAMA_SILENT_SECONDS)
        self.states = KeptStates(directory, clock)
        self.prefillers = Prefillers(options.prefillers, timeout_seconds=options.prefill_timeout_seconds)
        self.prompts = Prompts(self.llama, self.prefillers.by_address, directory=directory, fingerprint=fingerprint)
        name = options.served_model or model.stem
        self.engine = Engine(
            self.llama,
            SlotQueue(options.slots, options.queue),
            self.prompts,
            self.states,
            model=name,
            fingerprint=fingerprint,
            clock=clock,
        )
        described = Model(
            id=name,
            created_seconds=int(model.stat().st_mtime),
            owned_by="arks",
            context_tokens=options.context_tokens // options.slots,
        )
        self.tracer = tracer_of("ark-engine", options)
        self.server = EngineServer(self.engine, self.states, health=self.health, model=described, tracer=self.tracer)
        registry = CollectorRegistry()
        registry.register(EngineMetrics(self.health))
        self.http = HealthServer(options.http_host, options.http_port, registry, self.problems)

    def health(self) -> HealthResponse:
        status = HealthResponse.STATUS_READY if self.loaded else HealthResponse.STATUS_LOADING
        totals = self.engine.totals
        return HealthResponse(
            status=HealthResponse.STATUS_STOPPING if self.engine.stopping else status,
            role=_ROLES[self.options.role],
            slots=self.engine.slots.count,
            running=self.engine.slots.running,
            waiting=self.engine.slots.waiting,
            prompt_tokens=totals.prompt_tokens,
            completion_tokens=totals.completion_tokens,
            finished=totals.finished,
            handed_over=self.prompts.handed_over,
            fallbacks=self.prompts.fallbacks,
        )

    def problems(self) -> list[str]:
        status = self.health().status
        return [] if status == HealthResponse.STATUS_READY else [HealthResponse.Status.Name(status)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Serve; yields the gRPC port once the model is loaded. Raises NoModel, OSError."""
        http_port = await self.http.start()
        port = await self.server.start(f"{self.options.host}:{self.options.port}")
        await self.prefillers.start()
        try:
            llama, address = await llama_server.start(self._llama_options())
            await self.llama.start(address)
            self.loaded = True
            log.info("ready", role=self.options.role, model=str(self.model), port=port, http_port=http_port)
            yield port
            self.engine.stop()
            await self.server.stop(self.options.drain_seconds)
            del llama
        finally:
            await self.server.stop(0)
            await self.prefillers.stop()
            await self.llama.stop()
            await self.http.stop()
            await self.tracer.close()

    def _llama_options(self) -> llama_server.LlamaOptions:
        options = self.options
        return llama_server.LlamaOptions(
            model=self.model,
            slots=options.slots,
            context_tokens=options.context_tokens,
            threads=options.threads or engine_threads(usable_cpus(), 1),
            batch_tokens=options.batch_tokens,
            state_directory=self.directory,
        )


async def _run(options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    model = llama_server.find_model(options.model)
    with tempfile.TemporaryDirectory(prefix="ark-engine-", dir=options.state_directory) as directory:
        async with Program(options, model, Path(directory)).running():
            await stop.wait()


def main(arguments: list[str] | None = None) -> None:
    """Run the engine until SIGTERM or SIGINT. Exits with status 1 and a line in the log if it cannot serve."""
    options = read(arguments, os.environ)
    configure_logging("ark-engine")
    try:
        uvloop.run(_run(options))
    except (llama_server.NoModel, OSError) as error:
        log.error("the engine cannot serve", reason=str(error))
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
