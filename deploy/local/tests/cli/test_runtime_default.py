"""An application without a runtime gets the one that this machine can run."""

import pytest

from arks.contracts.resources import ArksApplication
from arks.kit import machine
from arks.local.cli.runtime_default import with_fitting_runtime


def application(**spec: object) -> ArksApplication:
    data = {"model": {"name": "m"}, "instanceSpec": {}} | spec
    metadata = {"name": "app"}
    return ArksApplication.from_dict(
        {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "metadata": metadata, "spec": data}
    )


def runtimes(*applications: ArksApplication) -> list[object]:
    return [resource.to_dict()["spec"].get("runtime") for resource in with_fitting_runtime(applications)]


def test_without_a_gpu_it_is_llamacpp_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "has_gpu", lambda: False)
    assert ["llamacpp", "vllm"] == runtimes(application(), application(runtime="vllm"))
    assert 1 == capsys.readouterr().err.count("names no runtime: llamacpp is used")


def test_with_a_gpu_and_vllm_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "has_gpu", lambda: True)
    monkeypatch.setattr(machine, "has_program", lambda name: True)
    assert ["vllm"] == runtimes(application())
