"""Launch commands on one machine: an engine as a process that listens on loopback."""

import sys
from dataclasses import dataclass

from arks.app_deployer.domain.launch.arguments import as_arguments
from arks.contracts.resources import ArksApplicationSpec, Runtime

LLAMACPP = (sys.executable, "-m", "arks.app_deployer.programs.llamacpp")
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class EngineParameters:
    """What differs from one start of an engine to the next."""

    model_path: str
    port: int
    threads: int
    slots: int


def engine_command(spec: ArksApplicationSpec, engine: EngineParameters) -> list[str]:
    """The program and its arguments; Arks' come last, because the last of two counts."""
    arguments, served, port = as_arguments(spec.runtime_args), spec.served_name, str(engine.port)
    if spec.effective_runtime is Runtime.LLAMACPP:
        ours = ["--host", _HOST, "--port", port, "--model", engine.model_path, "--alias", served]
        defaults = ["--parallel", str(engine.slots), "--threads", str(engine.threads)]
        return [*LLAMACPP, *defaults, *arguments, *ours]
    parallel = str(spec.tensor_parallel_size) if spec.tensor_parallel_size else None
    if spec.effective_runtime is Runtime.VLLM:
        size = ["--tensor-parallel-size", parallel] if parallel else []
        ours = ["--host", _HOST, "--port", port, "--served-model-name", served]
        return ["vllm", "serve", engine.model_path, *size, *arguments, *ours]
    if spec.effective_runtime is Runtime.SGLANG:
        size = ["--tp", parallel] if parallel else []
        metrics = [] if "enable-metrics" in " ".join(arguments) else ["--enable-metrics"]
        ours = ["--host", _HOST, "--port", port, "--model-path", engine.model_path, "--served-model-name", served]
        return ["sglang", "serve", *size, *arguments, *metrics, *ours]
    raise ValueError(f"runtime {spec.effective_runtime} has no launch line on one machine")
