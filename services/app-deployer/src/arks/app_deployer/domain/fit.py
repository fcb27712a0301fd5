"""Does a model fit the memory of one replica? A warning with numbers and the next step; it never prevents a start.

An estimate: weights, the KV cache of one request as long as the context, and what the engine takes besides. vLLM
refuses to start if they do not fit, SGLang and llama.cpp end or shorten the context.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from arks.app_deployer.domain.checks import NOT_ENOUGH_MEMORY
from arks.app_deployer.domain.launch import llamacpp_options
from arks.app_deployer.domain.launch.arguments import as_arguments
from arks.app_deployer.domain.launch.options import number_of, value_of
from arks.app_deployer.domain.model_file import ModelFile
from arks.app_deployer.domain.workload import Verdict
from arks.contracts.quantities import human_bytes
from arks.contracts.resources import ArksApplicationSpec, Runtime
from arks.events.v1.facts_pb2 import ModelFact

CONDITION = "Fits"
ENGINE_BYTES = 1 << 30
"""Of each accelerator, for activations and CUDA graphs."""
_USED_SHARES = {"--gpu-memory-utilization": 0.9, "--mem-fraction-static": 0.88}
"""The part of an accelerator that an engine uses, by the option that sets it, and its default."""
_TENSOR_PARALLEL = ("--tensor-parallel-size", "--tp-size", "--tp", "-tp")
_PIPELINE_PARALLEL = ("--pipeline-parallel-size", "--pp-size", "--pp", "-pp")
_CONTEXT = ("--max-model-len", "--context-length")
_KV_TYPE = "--kv-cache-dtype"
_UNKNOWN = ("--quantization", "-q", "--cpu-offload-gb", "--data-parallel-size", "-dp", "--dp-size", "--load-format")
"""With these, weights take another amount of memory than their files."""
_ROUNDED_TOKENS = 256
_MOST_ACCELERATORS = 1024


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the nodes of a replica have, as far as it is known."""

    accelerator_bytes: int = 0
    """Memory of the largest accelerator; 0: unknown."""
    memory_bytes: int = 0
    """Limit of an engine's main memory; 0: unknown, or none."""


def fit(spec: ArksApplicationSpec, model: ModelFact, hardware: Hardware) -> Verdict | None:
    """None if the model's size or the memory is unknown."""
    if not model.weights_bytes:
        return None
    if spec.effective_runtime in {Runtime.LLAMACPP, Runtime.ARK}:
        return _on_processors(spec, model, hardware.memory_bytes) if hardware.memory_bytes else None
    return _on_accelerators(spec, model, hardware.accelerator_bytes) if hardware.accelerator_bytes else None


def _on_processors(spec: ArksApplicationSpec, model: ModelFact, memory_bytes: int) -> Verdict | None:
    line = ["--model", "model", "--port", "0", *as_arguments(spec.runtime_args)]
    try:
        options, _ = llamacpp_options.parser(add_help=False).parse_known_args(line)
    except llamacpp_options.BadOptions:
        return None
    file = ModelFile(options.model, model.weights_bytes, model.kv_bytes_per_token, model.context_tokens)
    needed, context = llamacpp_options.memory_bytes(options, file), llamacpp_options.context_tokens(options)
    what = (
        f"a replica takes about {human_bytes(needed)} ({human_bytes(model.weights_bytes)} of weights, {context} tokens)"
    )
    if needed <= memory_bytes:
        return Verdict(True, CONDITION, f"{what} of {human_bytes(memory_bytes)}")
    advice = "raise instanceSpec.resources.limits.memory, or set a smaller --ctx-size or --parallel"
    return Verdict(False, NOT_ENOUGH_MEMORY, f"{what}, and its limit is {human_bytes(memory_bytes)}; {advice}")


def _on_accelerators(spec: ArksApplicationSpec, model: ModelFact, accelerator_bytes: int) -> Verdict | None:
    arguments = as_arguments(spec.runtime_args)
    if value_of(arguments, _UNKNOWN) is not None:
        return None
    count = _accelerators(spec, arguments)
    usable = int(accelerator_bytes * _used_share(spec, arguments)) - ENGINE_BYTES
    room = count * usable - model.weights_bytes
    have = f"{count} accelerator{'s' if count > 1 else ''} of {human_bytes(accelerator_bytes)}"
    weights = f"weights take {human_bytes(model.weights_bytes)}"
    if room <= 0:
        advice = f"{_more(model.weights_bytes, usable)}choose a quantised version of the model"
        held = human_bytes(max(0, count * usable))
        return Verdict(False, NOT_ENOUGH_MEMORY, f"{weights}, and {have} hold {held} of them; {advice}")
    context = number_of(arguments, _CONTEXT) or model.context_tokens
    kv_bytes = int(model.kv_bytes_per_token * (0.5 if "fp8" in (value_of(arguments, (_KV_TYPE,)) or "") else 1))
    if not context or not kv_bytes:
        return Verdict(True, CONDITION, f"{weights} of {have}; the KV cache's size is unknown")
    wanted = f"{weights}, the KV cache of {context} tokens {human_bytes(kv_bytes * context)}"
    if kv_bytes * context <= room:
        return Verdict(True, CONDITION, f"{wanted}, of {have}")
    most = room // kv_bytes // _ROUNDED_TOKENS * _ROUNDED_TOKENS
    option = "--context-length" if spec.effective_runtime is Runtime.SGLANG else "--max-model-len"
    shorter = f", or {option} to {most} at most" if most else ""
    needed = model.weights_bytes + kv_bytes * context
    advice = f"{_more(needed, usable, end='')}{shorter}" if usable > 0 else shorter
    return Verdict(False, NOT_ENOUGH_MEMORY, f"{wanted}, and {have} are too small; {advice.removeprefix(', or ')}")


def _more(needed_bytes: int, usable_bytes: int, end: str = ", or ") -> str:
    """The advice of a number of accelerators that is enough; engines divide heads by powers of two."""
    count = 1
    while usable_bytes > 0 and count < _MOST_ACCELERATORS:
        if count * usable_bytes > needed_bytes:
            return f"set tensorParallelSize to {count}{end}"
        count *= 2
    return ""


def _accelerators(spec: ArksApplicationSpec, arguments: Sequence[str]) -> int:
    tensor = spec.tensor_parallel_size or number_of(arguments, _TENSOR_PARALLEL) or 1
    return tensor * (number_of(arguments, _PIPELINE_PARALLEL) or 1)


def _used_share(spec: ArksApplicationSpec, arguments: Sequence[str]) -> float:
    option = "--mem-fraction-static" if spec.effective_runtime is Runtime.SGLANG else "--gpu-memory-utilization"
    text = value_of(arguments, (option,))
    try:
        share = float(text) if text is not None else _USED_SHARES[option]
    except ValueError:
        return _USED_SHARES[option]
    return share if 0 < share <= 1 else _USED_SHARES[option]
