"""The engine `llamacpp` as a program: llama.cpp's OpenAI server (xllamacpp) in this process.

Options have llama-server's names. Serves /v1/chat/completions, /v1/completions, /v1/models, /health, /metrics, /slots
and, with --embeddings, /v1/embeddings. Ends with status 1 and one line on stderr when the model cannot be served.
"""

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from arks.app_deployer.adapters.local import gguf
from arks.app_deployer.domain.launch.llamacpp_options import BadOptions, context_tokens, memory_bytes, parser
from arks.app_deployer.domain.model_file import ModelFile
from arks.app_deployer.programs import init
from arks.kit.machine import available_memory_bytes, engine_threads, usable_cpus

if TYPE_CHECKING:
    from xllamacpp import CommonParams

_MIB = 2**20


def check(options: argparse.Namespace) -> ModelFile:
    """Check before loading that the file is whole and fits into memory. Raises BadModelFile."""
    model = gguf.read(gguf.find(options.model))
    desired, available = memory_bytes(options, model), available_memory_bytes()
    if desired > available:
        raise gguf.BadModelFile(
            f"{model.path} does not fit: it takes {desired // _MIB} MiB with {context_tokens(options)} tokens of "
            f"context, {available // _MIB} MiB of memory are available; use a smaller model, --ctx-size or --parallel"
        )
    return model


def parameters(options: argparse.Namespace, model: Path) -> "CommonParams":
    """The options as xllamacpp's parameters."""
    import xllamacpp  # noqa: PLC0415  # 100 MB of library: only once the model is known to be good

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {options.alias} if options.alias else set()
    params.hostnames, params.port = [options.host], options.port
    params.n_parallel, params.n_ctx = options.parallel, context_tokens(options)
    params.n_batch, params.n_ubatch, params.n_predict = options.batch_size, options.ubatch_size, options.n_predict
    params.n_gpu_layers = options.n_gpu_layers
    params.cpuparams.n_threads = options.threads or engine_threads(usable_cpus(), 1)
    params.cache_type_k = getattr(xllamacpp.ggml_type, f"GGML_TYPE_{options.cache_type_k.upper()}")
    params.cache_type_v = getattr(xllamacpp.ggml_type, f"GGML_TYPE_{options.cache_type_v.upper()}")
    params.cache_ram_mib, params.cache_idle_slots = options.cache_ram, options.cache_ram > 0
    params.slot_save_path = f"{options.slot_save_path.rstrip('/')}/" if options.slot_save_path else ""
    params.endpoint_metrics = params.endpoint_slots = True
    params.ui = params.endpoint_props = False
    params.cors_origins = ""  # a web page in a browser on this machine must not reach an engine past the gateway
    params.fit_params = False  # never change the context behind the user's back: `check` has compared it with memory
    params.warmup = not options.no_warmup
    if options.embeddings:
        params.embedding = True
        params.pooling_type = getattr(xllamacpp.llama_pooling_type, f"LLAMA_POOLING_TYPE_{options.pooling.upper()}")
    if options.chat_template_file:
        params.chat_template = options.chat_template_file.read_text()
    return params


def main(arguments: list[str] | None = None) -> None:
    if os.getpid() == 1:
        init.fork_from_init()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        options = parser(description=__doc__).parse_args(arguments)
    except BadOptions as error:
        _exit_with(str(error), status=2)
    try:
        model = check(options)
        params = parameters(options, model.path)
    except (gguf.BadModelFile, OSError, ImportError) as error:
        _exit_with(str(error))
    serve(params)


def serve(params: "CommonParams") -> NoReturn:
    import xllamacpp  # noqa: PLC0415  # see `parameters`

    try:
        server = xllamacpp.Server(params)
    except RuntimeError:
        _exit_with(f"llama.cpp could not serve {params.model.path}: see the lines marked E")
    _log_line(f"serves {params.model.path} at {server.listening_address}")
    while True:  # the server has its own threads; signals have their default action, also while it loads
        signal.pause()


def _exit_with(reason: str, status: int = 1) -> NoReturn:
    _log_line(reason)
    raise SystemExit(status)


def _log_line(line: str) -> None:
    sys.stderr.write(f"llamacpp: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
