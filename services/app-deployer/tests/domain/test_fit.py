"""Whether models fit: golden cases with the sizes of well-known models and accelerators."""

from typing import Any

import pytest

from arks.app_deployer.domain.fit import Hardware, fit
from arks.contracts.resources import ArksApplicationSpec
from arks.events.v1.facts_pb2 import ModelFact

GB, GIB = 10**9, 2**30
QWEN_7B = ModelFact(weights_bytes=15_200_000_000, kv_bytes_per_token=57_344, context_tokens=32_768)
LLAMA_70B = ModelFact(weights_bytes=141_100_000_000, kv_bytes_per_token=327_680, context_tokens=131_072)
SMALL_GGUF = ModelFact(weights_bytes=400_000_000, kv_bytes_per_token=12_288, context_tokens=32_768)
H100, A10, T4 = Hardware(80 * GIB), Hardware(24 * GIB), Hardware(16 * GIB)


def spec(**fields: Any) -> ArksApplicationSpec:
    return ArksApplicationSpec.model_validate({"model": {"name": "m"}, "instanceSpec": {}} | fields)


def on_gpu(*arguments: str, **fields: Any) -> ArksApplicationSpec:
    return spec(runtimeCommonArgs=list(arguments), **fields)


@pytest.mark.parametrize(
    ("application", "model", "hardware", "holds", "text"),
    [
        (on_gpu(), QWEN_7B, H100, True, "KV cache of 32768 tokens 1.9 GB, of 1 accelerator of 85.9 GB"),
        (on_gpu(), QWEN_7B, A10, True, "weights take 15.2 GB"),
        (on_gpu(), QWEN_7B, T4, False, "hold 14.4 GB of them; set tensorParallelSize to 2, or choose a quantised"),
        (on_gpu(tensorParallelSize=2), QWEN_7B, T4, True, "of 2 accelerators of 17.2 GB"),
        (on_gpu("--gpu-memory-utilization=0.5"), QWEN_7B, A10, False, "set tensorParallelSize to 2"),
        (on_gpu("--tensor-parallel-size", "2"), LLAMA_70B, H100, False, "too small; set tensorParallelSize to 4, or"),
        (on_gpu("--tensor-parallel-size", "2"), LLAMA_70B, H100, False, "--max-model-len to 34560 at most"),
        (on_gpu("--max-model-len 8192", tensorParallelSize=2), LLAMA_70B, H100, True, "of 8192 tokens 2.7 GB"),
        (on_gpu("-tp", "4"), LLAMA_70B, H100, True, "of 4 accelerators"),
        (on_gpu("-tp", "1", "--pp-size", "4"), LLAMA_70B, H100, True, "of 4 accelerators"),
        (
            on_gpu("--context-length", "60000", "--tp", "2", runtime="sglang"),
            LLAMA_70B,
            H100,
            False,
            "--context-length to",
        ),
        (on_gpu("--kv-cache-dtype", "fp8", "--max-model-len", "60000", "-tp", "2"), LLAMA_70B, H100, True, "9.8 GB"),
        (on_gpu("--max-model-len", "auto"), QWEN_7B, A10, True, "of 32768 tokens"),
    ],
)
def test_the_verdict_names_sizes_and_the_next_step(
    application: ArksApplicationSpec, model: ModelFact, hardware: Hardware, holds: bool, text: str
) -> None:
    found = fit(application, model, hardware)
    assert found is not None
    assert (holds, "Fits" if holds else "NotEnoughMemory") == (found.status, found.reason)
    assert text in found.message


@pytest.mark.parametrize(
    ("application", "model", "hardware"),
    [
        (on_gpu(), ModelFact(), H100),
        (on_gpu(), QWEN_7B, Hardware()),
        (on_gpu("--quantization", "fp8"), LLAMA_70B, T4),
        (on_gpu("--cpu-offload-gb=100"), LLAMA_70B, T4),
        (spec(runtime="llamacpp"), SMALL_GGUF, Hardware()),
        (spec(runtime="llamacpp", runtimeCommonArgs=["--parallel", "none"]), SMALL_GGUF, Hardware(0, GIB)),
    ],
)
def test_there_is_no_verdict_on_what_is_unknown(
    application: ArksApplicationSpec, model: ModelFact, hardware: Hardware
) -> None:
    assert fit(application, model, hardware) is None


@pytest.mark.parametrize(
    ("arguments", "limit_bytes", "holds"),
    [
        ([], GIB, True),
        ([], 600_000_000, False),
        (["--ctx-size", "65536"], GIB, False),
        (["-np", "1"], 600_000_000, True),
    ],
)
def test_llamacpp_is_compared_with_the_limit_of_its_pods(arguments: list[str], limit_bytes: int, holds: bool) -> None:
    found = fit(spec(runtime="llamacpp", runtimeCommonArgs=arguments), SMALL_GGUF, Hardware(0, limit_bytes))
    assert found is not None
    assert holds is found.status
    assert ("raise instanceSpec.resources.limits.memory" in found.message) is not holds


def test_a_model_for_which_no_number_of_accelerators_is_enough_gets_no_such_advice() -> None:
    found = fit(on_gpu(), LLAMA_70B, Hardware(GIB))
    assert found is not None
    assert "tensorParallelSize" not in found.message
