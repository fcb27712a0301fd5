"""GPUs of this machine."""

from arks.app_deployer.adapters.local.hardware import MachineHardware, accelerator_bytes
from arks.app_deployer.domain.fit import Hardware
from arks.contracts.resources import ArksApplication


def application(runtime: str) -> ArksApplication:
    spec = {"runtime": runtime, "model": {"name": "m"}, "instanceSpec": {}}
    metadata = {"name": "app", "namespace": "default"}
    return ArksApplication.from_dict(
        {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "metadata": metadata, "spec": spec}
    )


def test_the_largest_gpu_counts() -> None:
    assert 81559 << 20 == accelerator_bytes("24564\n81559\n")
    assert 0 == accelerator_bytes("[N/A]\n")


async def test_gpus_are_queried_once_and_only_for_engines_on_gpus() -> None:
    queries: list[str] = []
    found = MachineHardware(lambda: queries.append("query") or "16384\n")  # type: ignore[func-returns-value]
    assert Hardware() == await found.of(application("llamacpp"))
    assert [Hardware(16384 << 20)] * 2 == [await found.of(application("vllm")) for _ in range(2)]
    assert ["query"] == queries
