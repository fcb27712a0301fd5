"""Options of the engine program `llamacpp`, which have llama-server's names, and what they cost in memory.

Standard library only: the engine program's image holds nothing else.
"""

import argparse
from pathlib import Path
from typing import NoReturn

from arks.app_deployer.domain.model_file import ModelFile

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
    """The command line is invalid; the message names the option."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadOptions(message)


def parser(*, add_help: bool = True, description: str | None = None) -> argparse.ArgumentParser:
    """Raises BadOptions where argparse would end the program (but for --help)."""
    options = _Parser("llamacpp", allow_abbrev=False, add_help=add_help, description=description)
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


def memory_bytes(options: argparse.Namespace, model: ModelFile) -> int:
    """What an engine with these options takes at most."""
    kv_scale = (_KV_TYPES[options.cache_type_k] + _KV_TYPES[options.cache_type_v]) / 2
    return model.memory_bytes(context_tokens(options), kv_scale) + int(options.cache_ram) * _MIB


def context_tokens(options: argparse.Namespace) -> int:
    return int(options.ctx_size or TOKENS_PER_SLOT * options.parallel)
