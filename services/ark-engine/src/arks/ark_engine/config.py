"""Options of the engine program. Everything that a person may want to change has its unit and its reason here."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from arks.kit.hosts import targets_of

DEFAULT_PORT = 62000
Role = Literal["prefiller", "decoder", "both"]
TOKENS_PER_SLOT = 4096
TMPFS = Path("/dev/shm")  # noqa: S108  # KV states of tens of MB that live for milliseconds


@dataclass(frozen=True)
class Options:
    role: Role
    model: Path
    """GGUF file, or a directory with one."""
    served_model: str
    host: str
    port: int
    http_host: str
    http_port: int
    slots: int
    context_tokens: int
    """All slots together."""
    threads: int
    """0: all processors but one."""
    batch_tokens: int
    queue: int
    """Generations that may wait for a slot; more are refused, because they would wait longer than clients do."""
    prefillers: list[str]
    """host:port of each."""
    prefill_timeout_seconds: float
    state_directory: Path
    drain_seconds: float
    otlp_endpoint: str | None = None
    """OpenTelemetry collector (OTLP over HTTP); None: no traces."""


def read(arguments: list[str] | None, environment: Mapping[str, str]) -> Options:
    """Options from the command line; PREFILL_NODE_IP and ARKS_OTLP_ENDPOINT from the environment.

    Exits with a message if they are invalid.
    """
    found = _parser().parse_args(arguments)
    prefillers = targets_of(environment.get("PREFILL_NODE_IP", ""), DEFAULT_PORT) if found.role == "decoder" else []
    return Options(
        role=found.role,
        model=found.model,
        served_model=found.served_model_name,
        host=found.host,
        port=found.port,
        http_host=found.http_host,
        http_port=found.http_port,
        slots=found.parallel,
        context_tokens=found.ctx_size or TOKENS_PER_SLOT * found.parallel,
        threads=found.threads,
        batch_tokens=found.batch_size,
        queue=found.queue,
        prefillers=prefillers,
        prefill_timeout_seconds=found.prefill_timeout_seconds,
        state_directory=found.state_dir,
        drain_seconds=found.drain_seconds,
        otlp_endpoint=environment.get("ARKS_OTLP_ENDPOINT") or None,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("ark-engine", allow_abbrev=False, description=_ABOUT)
    add = parser.add_argument
    add("--role", choices=get_args(Role), default="both", help="default: both")
    add("--model", type=Path, required=True, help="GGUF file, or a directory with one")
    add("--served-model-name", default="", help="name of the model in requests (default: the file's)")
    add("--host", default="0.0.0.0", help="address of the gRPC server")  # noqa: S104  # other machines connect
    add("--port", type=int, default=DEFAULT_PORT, help="port of the gRPC server; 0 picks one, which the log names")
    add("--http-host", default="127.0.0.1", help="address of /healthz, /readyz and /metrics")
    add("--http-port", type=int, default=DEFAULT_PORT + 1, help="port of them; 0 picks one, which the log names")
    add("--parallel", type=_positive, default=4, help="generations that are worked on at once (slots)")
    add("--ctx-size", type=int, default=0, help=f"tokens of all slots together (default: {TOKENS_PER_SLOT} a slot)")
    add("--threads", type=int, default=0, help="default: all processors but one")
    add("--batch-size", type=_positive, default=256, help="tokens of a prompt in one step; a cancellation waits for it")
    add("--queue", type=int, default=256, help="generations that may wait for a slot")
    add("--prefill-timeout-seconds", type=float, default=60.0, help="then the decoder processes the prompt itself")
    add("--state-dir", type=Path, default=TMPFS, help="where KV states are written for their hand-over")
    add("--drain-seconds", type=float, default=25.0, help="time for running generations after SIGTERM")
    return parser


_ABOUT = """The reference ARK engine: llama.cpp behind gRPC. A decoder reads PREFILL_NODE_IP from the environment: one
or more hosts of prefillers, separated by commas, each with a port or not. A name may have several addresses."""


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {number}")
    return number
