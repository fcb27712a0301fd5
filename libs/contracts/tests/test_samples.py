"""Manifests as people have them are taken as they are, by us and by an API server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from arks.contracts.manifests.messages import field_path, sentence
from arks.contracts.resources import (
    KINDS,
    ArksApplication,
    ArksDisaggregatedApplication,
    ArksEndpoint,
    ArksModel,
    ArksQuota,
    ArksToken,
    HubTokenRef,
    QuotaType,
    Resource,
    Runtime,
)

ReadManifests = Callable[[str], list[dict[str, Any]]]
MISTAKES: list[dict[str, str]] = yaml.safe_load((Path(__file__).parent / "mistakes.yaml").read_text())
SAMPLES = Path(__file__).parent / "samples"


def load(name: str, read_manifests: ReadManifests) -> list[Resource]:
    return [KINDS[item["kind"]].from_dict(item) for item in read_manifests((SAMPLES / name).read_text())]


def test_every_sample_passes_the_definitions(sample: tuple[str, str], api_server: Callable[[str], list[str]]) -> None:
    assert [] == api_server(sample[1])


def test_every_sample_survives_being_written_and_read_again(
    sample: tuple[str, str], read_manifests: ReadManifests
) -> None:
    for resource in load(sample[0], read_manifests):
        assert resource == type(resource).from_dict(resource.to_dict(reveal_secrets=True))


def test_nodes_of_a_replica_under_the_old_name_are_its_group_size(read_manifests: ReadManifests) -> None:
    [application] = load("application-vllm.yaml", read_manifests)
    assert isinstance(application, ArksApplication)
    assert 2 == application.spec.group_size
    assert Runtime.VLLM is application.spec.effective_runtime
    assert "qwen-7b" == application.spec.served_name


def test_engine_arguments_under_the_old_name_are_its_runtime_args(read_manifests: ReadManifests) -> None:
    [application] = load("application-sglang.yaml", read_manifests)
    assert isinstance(application, ArksApplication)
    assert ["--mem-fraction-static", "0.7"] == application.spec.runtime_args


def test_kubernetes_objects_are_handed_on_as_they_are(read_manifests: ReadManifests) -> None:
    [application] = load("application-every-field.yaml", read_manifests)
    assert isinstance(application, ArksApplication)
    assert [{"name": "scratch", "emptyDir": {}}] == application.to_dict()["spec"]["instanceSpec"]["volumes"]
    assert "qwen2.5" == application.spec.served_name
    assert application.spec.instance_spec.host_ipc is True


def test_a_bare_name_of_the_hub_tokens_secret_means_its_usual_key(read_manifests: ReadManifests) -> None:
    model = load("model-private.yaml", read_manifests)[1]
    assert isinstance(model, ArksModel)
    assert model.spec.source is not None
    assert model.spec.source.huggingface is not None
    assert HubTokenRef(name="hf-token", key="HF_TOKEN") == model.spec.source.huggingface.token_secret_ref


def test_the_routers_port_under_its_old_name_is_its_port(read_manifests: ReadManifests) -> None:
    [application] = load("disaggregated.yaml", read_manifests)
    assert isinstance(application, ArksDisaggregatedApplication)
    assert 8000 == application.spec.router.serving_port
    assert 1 == application.spec.decode.replicas


def test_a_quotas_type_under_its_old_name_is_its_type(read_manifests: ReadManifests) -> None:
    endpoint, token, quota = load("gateway.yaml", read_manifests)
    assert isinstance(endpoint, ArksEndpoint)
    assert isinstance(token, ArksToken)
    assert isinstance(quota, ArksQuota)
    assert [QuotaType.PROMPT, QuotaType.RESPONSE] == [limit.quota_type for limit in quota.spec.quotas]
    assert 5 == endpoint.spec.default_weight


@pytest.mark.parametrize("case", MISTAKES, ids=lambda case: case["mistake"])
def test_an_api_server_refuses_the_same_mistakes(case: dict[str, str], api_server: Callable[[str], list[str]]) -> None:
    assert bool(api_server(case["manifest"])) == ("onlyArks" not in case)


@pytest.mark.parametrize(
    "case", [case for case in MISTAKES if "apiVersion" in case["manifest"]], ids=lambda case: case["mistake"]
)
def test_a_mistake_is_explained_by_its_field_and_a_sentence(
    case: dict[str, str], read_manifests: ReadManifests
) -> None:
    [item] = read_manifests(case["manifest"])
    kind = KINDS[item["kind"]]
    with pytest.raises(ValidationError) as raised:
        kind.from_dict(item)
    [error] = raised.value.errors(include_url=False)
    assert case["error"].endswith(f": {field_path(error['loc'])}: {sentence(error, kind)}")
