"""llama.cpp in this process: its server has threads of its own and listens on loopback."""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FINGERPRINT_BYTES = 2**20
"""The beginning of a GGUF file has its metadata and the first weights."""


class NoModel(Exception):
    """The model cannot be served; the message gives the reason."""


@dataclass(frozen=True)
class LlamaOptions:
    model: Path
    slots: int
    context_tokens: int
    """All slots together."""
    threads: int
    batch_tokens: int
    """Prompts are processed in steps of this many tokens; a cancellation waits for the end of a step."""
    state_directory: Path


def find_model(path: Path) -> Path:
    """The GGUF file at `path`, which is one or a directory with one. Raises NoModel."""
    if path.is_file():
        return path
    found = sorted(path.rglob("*.gguf"))
    if len(found) != 1:
        raise NoModel(f"{path}: {len(found)} GGUF files instead of one")
    return found[0]


def fingerprint(model: Path) -> str:
    """Names the weights and the form of KV states, which is always the same in this engine."""
    with model.open("rb") as file:
        beginning = hashlib.sha256(file.read(_FINGERPRINT_BYTES)).hexdigest()
    return f"llama.cpp-f16-{model.stat().st_size}-{beginning[:32]}"


async def start(options: LlamaOptions) -> tuple[Any, str]:
    """Load the model. Returns the server, which lives as long as it is referenced, and its address.

    Raises NoModel.
    """
    try:
        return await asyncio.to_thread(_start, options)
    except RuntimeError as error:
        raise NoModel(f"llama.cpp cannot serve {options.model}: see the lines marked E") from error


def _start(options: LlamaOptions) -> tuple[Any, str]:
    import xllamacpp  # noqa: PLC0415  # 100 MB of library: only once the model is known to exist

    params = xllamacpp.CommonParams()
    params.model.path = str(options.model)
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_parallel, params.n_ctx = options.slots, options.context_tokens
    params.n_batch = params.n_ubatch = options.batch_tokens
    params.cpuparams.n_threads = options.threads
    params.slot_save_path = f"{options.state_directory}/"
    params.cache_ram_mib, params.cache_idle_slots = 0, False
    params.endpoint_slots, params.ui, params.endpoint_props = True, False, False
    params.cors_origins = ""
    params.fit_params = params.warmup = False
    server = xllamacpp.Server(params)
    return server, str(server.listening_address)
