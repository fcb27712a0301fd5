"""The engine `llamacpp` with the small model, as a server for tests."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from arks.kit.ports import free_port
from arks.kit.testing.servers import Server, serve, small_model


@asynccontextmanager
async def engine_server(
    directory: Path,
    *,
    slots: int = 2,
    served_model: str = "smollm2",
    model: Path | None = None,
    arguments: Sequence[str] = (),
) -> AsyncIterator[Server]:
    """llama.cpp's OpenAI server as app-deployer starts it. `model`: None is the small model."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [
        *(sys.executable, "-m", "arks.app_deployer.programs.llamacpp", "--model", str(model or small_model())),
        *("--port", str(port), "--alias", served_model, "--parallel", str(slots), "--ctx-size", str(2048 * slots)),
        *arguments,
    ]
    async with serve(command, port, directory) as server:
        yield server
