from typing import Any

import pytest

from arks.app_deployer.adapters.profiles import read_profiles
from arks.app_deployer.domain import checks
from arks.app_deployer.domain.workload import Machine
from arks.contracts.resources import ArksApplicationSpec

MIB = 2**20
PLAIN = Machine(cpus=2, available_memory_bytes=8 * 2**30, has_gpu=False, programs=frozenset())
INSTEAD = "use runtime llamacpp with a GGUF model here, or apply it to a Kubernetes cluster"

PROGRAMS = read_profiles().programs()


def spec(**fields: Any) -> ArksApplicationSpec:
    return ArksApplicationSpec.model_validate({"model": {"name": "m"}, "instanceSpec": {}} | fields)


def machine(*, gpu: bool = False, programs: tuple[str, ...] = ()) -> Machine:
    return Machine(2, 2**33, gpu, frozenset(programs))


@pytest.mark.parametrize(
    ("fields", "on", "why"),
    [
        ({"runtime": "llamacpp"}, machine(), None),
        ({"runtime": "vllm"}, machine(gpu=True, programs=("vllm",)), None),
        ({"runtime": "sglang"}, machine(gpu=True, programs=("sglang",)), None),
        ({}, machine(), "runtime vllm: it has no GPU and the program vllm is not installed"),
        ({"runtime": "sglang"}, machine(gpu=True), "runtime sglang: the program sglang is not installed"),
        ({"runtime": "vllm"}, machine(programs=("vllm",)), "runtime vllm: it has no GPU;"),
        ({"runtime": "dynamo"}, machine(gpu=True, programs=("vllm",)), "runtime dynamo needs Kubernetes"),
        ({"runtime": "ark"}, machine(), None),
        ({"runtime": "llamacpp", "size": 2}, machine(), "a replica of 2 nodes needs Kubernetes"),
        (
            {"runtime": "vllm", "instanceSpec": {"replicas": 2}},
            machine(),
            "runtime vllm: it has no GPU and the program vllm is not installed; "
            f"{INSTEAD}; besides, a replica of 2 nodes needs Kubernetes",
        ),
        ({"size": 2}, machine(gpu=True, programs=("vllm",)), "a replica of 2 nodes needs Kubernetes"),
        ({"runtime": "dynamo", "size": 2}, machine(), "runtime dynamo needs Kubernetes"),
    ],
)
def test_what_one_machine_can_run(fields: dict[str, Any], on: Machine, why: str | None) -> None:
    problem = checks.runtime_problem(spec(**fields), on, PROGRAMS)
    if why is None:
        assert problem is None
        return
    assert problem is not None
    assert "RuntimeNotSupport" == problem.reason
    assert why in problem.message


def test_a_gpu_runtime_is_refused_with_an_alternative() -> None:
    problem = checks.runtime_problem(spec(runtime="vllm"), PLAIN, PROGRAMS)
    assert problem is not None
    assert problem.message.endswith(INSTEAD)


@pytest.mark.parametrize(
    ("available", "reserved_bytes", "replica", "fit"),
    [(100, 0, 40, 2), (100, 30, 40, 1), (100, 100, 40, 0), (10, 100, 40, 0), (39, 0, 40, 0), (100, 0, 0, 100)],
)
def test_memory_holds_so_many_replicas(available: int, reserved_bytes: int, replica: int, fit: int) -> None:
    assert fit == checks.replicas_that_fit(available, reserved_bytes, replica)


def test_a_number_beyond_the_machine_is_refused_with_the_number_that_fits() -> None:
    assert checks.number_refusal(143, 143, 150 * MIB) is None
    assert checks.number_refusal(1, 0, 150 * MIB) is None
    refused = checks.number_refusal(99_999_999, 143, 150 * MIB)
    assert refused is not None
    assert "NotEnoughMemory" == refused.reason
    assert refused.message.startswith("this machine's memory holds at most 143 replicas of 150 MiB, not 99999999; use")


def test_a_refusal_for_memory_has_the_numbers() -> None:
    refusal = checks.memory_refusal(4000 * MIB, 0, 9842 * MIB, 9000 * MIB)
    assert "NotEnoughMemory" == refusal.reason
    assert refusal.message.startswith(
        "a replica takes 9842 MiB of memory (9000 MiB of them weights), 4000 MiB are available; use a smaller model"
    )
