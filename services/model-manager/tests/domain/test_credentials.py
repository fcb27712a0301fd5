"""Which values of which Secret a download gets."""

from typing import Any

import pytest

from arks.contracts.resources import ArksModelSpec
from arks.model_manager.domain.credentials import credential_refs, missing


def spec(source: dict[str, Any] | None) -> ArksModelSpec:
    return ArksModelSpec.model_validate({"model": "acme/tiny", "source": source})


REF = {"secretRef": {"name": "keys"}}


@pytest.mark.parametrize(
    ("source", "variables"),
    [
        (None, []),
        ({"huggingface": {}}, []),
        ({"huggingface": {"tokenSecretRef": {"name": "keys", "key": "mine"}}}, ["HF_TOKEN"]),
        ({"modelscope": REF}, ["MODELSCOPE_API_TOKEN"]),
        (
            {"s3": {"url": "s3://weights/a", **REF}},
            ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"],
        ),
        ({"gs": {"url": "gs://weights/a", **REF}}, ["GOOGLE_SERVICE_ACCOUNT_KEY"]),
        (
            {"az": {"url": "az://weights/a", "account": "acme", **REF}},
            ["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN"],
        ),
        ({"oci": {"reference": "ghcr.io/a/b:v1", **REF}}, ["DOCKER_CONFIG_JSON", "USERNAME", "PASSWORD"]),
        ({"http": {"files": [{"url": "https://h/f"}], **REF}}, ["AUTHORIZATION"]),
        ({"http": {"files": [{"url": "https://h/f"}]}}, []),
    ],
)
def test_each_source_has_its_keys(source: dict[str, Any] | None, variables: list[str]) -> None:
    assert variables == [ref.variable for ref in credential_refs(spec(source))]


def test_a_missing_required_key_is_named() -> None:
    references = credential_refs(spec({"s3": {"url": "s3://weights/a", **REF}}))
    assert "has no value under AWS_SECRET_ACCESS_KEY" == missing(references, {"AWS_ACCESS_KEY_ID": "a"})
    assert missing(references, {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}) is None


def test_one_of_several_optional_keys_is_enough() -> None:
    references = credential_refs(spec({"az": {"url": "az://weights/a", "account": "acme", **REF}}))
    assert missing(references, {"AZURE_STORAGE_SAS_TOKEN": "a"}) is None
    expected = "has no value under any of AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN"
    assert expected == missing(references, {})
