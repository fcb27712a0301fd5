"""Which engines get /dev/shm."""

import pytest

from arks.app_deployer.adapters.profiles import read_profiles
from arks.app_deployer.domain.launch import manifests
from arks.app_deployer.domain.launch.profiles import SharedMemory
from arks.app_deployer.domain.launch.shared_memory import is_needed
from arks.contracts.resources import ArksApplication
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.types import Json

MEMORY = SharedMemory(options=("--tp", "-tp"))
MODEL = ModelFact(namespace="default", name="m", path="/models/m")


@pytest.mark.parametrize(
    ("size", "arguments", "expected"),
    [
        (None, [], False),
        (1, [], False),
        (2, [], True),
        (None, ["--tp", "2"], True),
        (None, ["--tp=8"], True),
        (None, ["-tp", "1"], False),
        (None, ["--tp"], False),
        (None, ["--tp", "many"], False),
        (None, ["--other", "2"], False),
    ],
)
def test_processes_that_share_a_model_need_it(size: int | None, arguments: list[str], expected: bool) -> None:
    assert expected == is_needed(MEMORY, size, arguments)


def test_a_runtime_without_it_never_needs_it() -> None:
    assert not is_needed(None, 8, ["--tp", "8"])


def test_a_profile_may_always_need_it() -> None:
    assert is_needed(SharedMemory(always=True), None, [])


def pod(**instance: object) -> Json:
    spec = {"runtime": "vllm", "tensorParallelSize": 2, "model": {"name": "m"}, "instanceSpec": instance}
    manifest = {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "metadata": {"name": "app"}, "spec": spec}
    made = manifests.templates(ArksApplication.from_dict(manifest), MODEL, read_profiles(), 600.0)
    spec_of_pod: Json = made.leader["spec"]
    return spec_of_pod


def test_it_is_memory_and_what_a_user_mounts_there_stays() -> None:
    assert {"name": "arks-shm", "emptyDir": {"medium": "Memory"}} in pod()["volumes"]
    mounts = [{"name": "own", "mountPath": "/dev/shm/"}]
    own = pod(volumes=[{"name": "own", "emptyDir": {}}], volumeMounts=mounts)
    assert ["models", "own"] == [volume["name"] for volume in own["volumes"]]
    assert ["models"] == [volume["name"] for volume in pod(hostIPC=True)["volumes"]]
