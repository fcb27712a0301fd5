"""What engines of one machine need before their start."""

import pytest

from arks.app_deployer.adapters.local.runtimes import LocalRuntimes
from arks.app_deployer.adapters.profiles import read_profiles
from arks.contracts.resources import ArksApplicationSpec


@pytest.mark.parametrize(("arguments", "slots"), [([], 0), (["--max-num-seqs", "64"], 64)])
async def test_slots_of_an_engine_on_a_gpu_are_those_of_its_options(arguments: list[str], slots: int) -> None:
    spec = ArksApplicationSpec.model_validate(
        {"runtime": "vllm", "model": {"name": "m"}, "instanceSpec": {}, "runtimeCommonArgs": arguments}
    )
    found = await LocalRuntimes(read_profiles()).requirements(spec, "/models/m", slots=4)
    assert (found.slots, found.memory_bytes) == (slots, 0)
