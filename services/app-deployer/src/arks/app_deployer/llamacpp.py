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

from arks.app_deployer import gguf, init
from arks.app_deployer.machine import available_memory_bytes, engine_threads, usable_cpus

if TYPE_CHECKING:
    from xllamacpp import CommonParams

TOKENS_PER_SLOT = 4096
_KV_TYPES = {
    "f32": 2.0,
    "f16": 1.0,
    "bf16": 1.0,
    "q8_0": 34 / 64,
    "q5_1": 24 / 64,
    "q5_0": 22 / 64,
    "q4_1": 20 / 64,
    "q4_0": 18 / 64,
}
"""Type of the KV cache -> its size in units of 16 bits."""
_MIB = 2**20


class BadOptions(Exception):
    """The command line cannot be; the message names the option."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadOptions(message)


def parser(*, add_help: bool = True) -> argparse.ArgumentParser:
    """Raises BadOptions where argparse would end the program (but for --help)."""
    options = _Parser("llamacpp", allow_abbrev=False, add_help=add_help, description=__doc__)
    add = options.add_argument
    add("-m", "--model", type=Path, required=True, help="GGUF file, or a directory with one")
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    add("--port", type=int, required=True, help="0 picks a free one, which the log names")
    add("-a", "--alias", default="", help="name of the model in answers (default: the file's)")
    add("-np", "--parallel", type=_positive, default=4, help="requests that are worked on at once (slots)")
    add("-c", "--ctx-size", type=int, default=0, help="tokens of context, all slots together (default: 4096 a slot)")
    add("-t", "--threads", type=int, default=0, help="threads (default: all processors but one)")
    add("-b", "--batch-size", type=int, default=2048, help="tokens of prompts in one batch")
    add("-ub", "--ubatch-size", type=int, default=512, help="tokens computed at once")
    add("-n", "--n-predict", type=int, default=-1, help="most tokens of an answer that sets no limit itself")
    add("-ngl", "--n-gpu-layers", type=int, default=-1, help="layers on the GPU, in a build with one")
    add("-ctk", "--cache-type-k", choices=_KV_TYPES, default="f16", help="type of the keys in the KV cache")
    add("-ctv", "--cache-type-v", choices=_KV_TYPES, default="f16", help="type of the values in the KV cache")
    add("--cache-ram", type=int, default=0, metavar="MIB", help="memory for prompts of idle slots (default: none)")
    add("--slot-save-path", default="", metavar="DIR", help="allow saving and restoring slots under this directory")
    add("--embeddings", "--embedding", action="store_true", help="serve /v1/embeddings too (completions get slower)")
    add("--pooling", choices=("mean", "cls", "last"), default="mean", help="of embeddings")
    add("--chat-template-file", type=Path, help="Jinja template in place of the model's own")
    add("--no-warmup", action="store_true", help="no empty run after loading")
    return options


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {number}")
    return number


def check(options: argparse.Namespace) -> gguf.ModelFile:
    """What can be known before loading: the file is whole, and the model fits into memory. Raises BadModelFile."""
    model = gguf.read(gguf.find(options.model))
    wanted, available = memory_bytes(options, model), available_memory_bytes()
    if wanted > available:
        raise gguf.BadModelFile(
            f"{model.path} does not fit: it takes {wanted // _MIB} MiB with {context_tokens(options)} tokens of "
            f"context, {available // _MIB} MiB of memory are available; use a smaller model, --ctx-size or --parallel"
        )
    return model


def memory_bytes(options: argparse.Namespace, model: gguf.ModelFile) -> int:
    """What an engine with these options takes at most."""
    kv_scale = (_KV_TYPES[options.cache_type_k] + _KV_TYPES[options.cache_type_v]) / 2
    return model.memory_bytes(context_tokens(options), kv_scale) + int(options.cache_ram) * _MIB


def context_tokens(options: argparse.Namespace) -> int:
    return int(options.ctx_size or TOKENS_PER_SLOT * options.parallel)


def parameters(options: argparse.Namespace, model: Path) -> "CommonParams":
    """Our options in xllamacpp's words."""
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
        options = parser().parse_args(arguments)
    except BadOptions as error:
        _give_up(str(error), status=2)
    try:
        model = check(options)
        params = parameters(options, model.path)
    except (gguf.BadModelFile, OSError, ImportError) as error:
        _give_up(str(error))
    serve(params)


def serve(params: "CommonParams") -> NoReturn:
    import xllamacpp  # noqa: PLC0415  # see `parameters`

    try:
        server = xllamacpp.Server(params)
    except RuntimeError:
        _give_up(f"llama.cpp could not serve {params.model.path}: lines marked E say why")
    _say(f"serves {params.model.path} at {server.listening_address}")
    while True:  # the server has its own threads; signals have their default action, also while it loads
        signal.pause()


def _give_up(reason: str, status: int = 1) -> NoReturn:
    _say(reason)
    raise SystemExit(status)


def _say(line: str) -> None:
    sys.stderr.write(f"llamacpp: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
