"""Manifests as people have them are taken as they are, by us and by an API server."""

from collections.abc import Callable
from pathlib import Path

from arks.contracts.manifests import parse_manifests
from arks.contracts.resources import (
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

SAMPLES = Path(__file__).parent / "samples"


def load(name: str) -> list[Resource]:
    manifests = parse_manifests([(name, (SAMPLES / name).read_text())])
    assert [] == manifests.errors
    return manifests.resources


def test_every_sample_is_accepted_unchanged(sample: tuple[str, str]) -> None:
    manifests = parse_manifests([sample])
    assert [] == manifests.errors
    assert manifests.resources


def test_every_sample_passes_the_definitions(sample: tuple[str, str], api_server: Callable[[str], list[str]]) -> None:
    assert [] == api_server(sample[1])


def test_every_sample_survives_being_written_and_read_again(sample: tuple[str, str]) -> None:
    for resource in parse_manifests([sample]).resources:
        assert resource == type(resource).from_dict(resource.to_dict(reveal_secrets=True))


def test_nodes_of_a_replica_under_the_old_name_are_its_group_size() -> None:
    [application] = load("application-vllm.yaml")
    assert isinstance(application, ArksApplication)
    assert 2 == application.spec.group_size
    assert Runtime.VLLM is application.spec.effective_runtime
    assert "qwen-7b" == application.spec.served_name


def test_engine_arguments_under_the_old_name_are_its_runtime_args() -> None:
    [application] = load("application-sglang.yaml")
    assert isinstance(application, ArksApplication)
    assert ["--mem-fraction-static", "0.7"] == application.spec.runtime_args


def test_kubernetes_objects_are_handed_on_as_they_are() -> None:
    [application] = load("application-every-field.yaml")
    assert isinstance(application, ArksApplication)
    assert [{"name": "scratch", "emptyDir": {}}] == application.to_dict()["spec"]["instanceSpec"]["volumes"]
    assert "qwen2.5" == application.spec.served_name
    assert application.spec.instance_spec.host_ipc is True


def test_a_bare_name_of_the_hub_tokens_secret_means_its_usual_key() -> None:
    model = load("model-private.yaml")[1]
    assert isinstance(model, ArksModel)
    assert model.spec.source is not None
    assert model.spec.source.huggingface is not None
    assert HubTokenRef(name="hf-token", key="HF_TOKEN") == model.spec.source.huggingface.token_secret_ref


def test_a_secret_with_a_placeholder_is_a_warning_without_its_value() -> None:
    name = "model-private.yaml"
    [warning] = parse_manifests([(name, (SAMPLES / name).read_text())]).warnings
    assert "model-private.yaml:9: data.HF_TOKEN: is not base64 of text, so this value cannot be used" == str(warning)


def test_the_routers_port_under_its_old_name_is_its_port() -> None:
    [application] = load("disaggregated.yaml")
    assert isinstance(application, ArksDisaggregatedApplication)
    assert 8000 == application.spec.router.serving_port
    assert 1 == application.spec.decode.replicas


def test_a_quotas_type_under_its_old_name_is_its_type() -> None:
    endpoint, token, quota = load("gateway.yaml")
    assert isinstance(endpoint, ArksEndpoint)
    assert isinstance(token, ArksToken)
    assert isinstance(quota, ArksQuota)
    assert [QuotaType.PROMPT, QuotaType.RESPONSE] == [limit.quota_type for limit in quota.spec.quotas]
    assert 5 == endpoint.spec.default_weight
