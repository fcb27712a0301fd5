"""Sources of weights."""

from typing import Any

import pytest

from arks.contracts.resources import ArksModelSpec
from arks.model_manager.domain.source_kind import SourceKind
from arks.model_manager.domain.weights_source import weights_source_of

HUB = "https://hub.example"


def spec(**fields: Any) -> ArksModelSpec:
    return ArksModelSpec.model_validate({"model": "acme/tiny", **fields})


def test_a_hub_source_has_defaults() -> None:
    source = weights_source_of(spec(source={"huggingface": {}}), HUB)
    assert (SourceKind.HUB, "acme/tiny", HUB, "main") == (
        source.kind,
        source.repository,
        source.endpoint,
        source.revision,
    )


def test_without_a_source_users_fill_the_storage() -> None:
    assert SourceKind.STORED is weights_source_of(spec(), HUB).kind


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": "http://mirror"},
        {"revision": "v2"},
        {"allowPatterns": ["*.gguf"]},
        {"ignorePatterns": ["*.gguf"]},
    ],
)
def test_a_changed_source_has_another_fingerprint(change: dict[str, Any]) -> None:
    before = weights_source_of(spec(source={"huggingface": {}}), HUB)
    assert before.fingerprint != weights_source_of(spec(source={"huggingface": change}), HUB).fingerprint


def test_another_secret_keeps_the_fingerprint() -> None:
    with_token = weights_source_of(spec(source={"huggingface": {"tokenSecretRef": "hf-token"}}), HUB)
    assert with_token.fingerprint == weights_source_of(spec(source={"huggingface": {}}), HUB).fingerprint


def test_the_origin_hides_a_password() -> None:
    source = weights_source_of(spec(source={"huggingface": {"endpoint": "http://me:secret@mirror"}}), HUB)
    assert "acme/tiny (main) at http://mirror" == source.origin


@pytest.mark.parametrize(
    ("source", "kind", "origin"),
    [
        (
            {"s3": {"url": "s3://weights/tiny", "endpoint": "http://me:pw@store:9000/"}},
            SourceKind.S3,
            "s3://weights/tiny at http://store:9000",
        ),
        ({"gs": {"url": "gs://weights/tiny"}}, SourceKind.GS, "gs://weights/tiny"),
        ({"az": {"url": "az://weights/tiny", "account": "acme"}}, SourceKind.AZ, "az://weights/tiny"),
        ({"oci": {"reference": "ghcr.io/acme/tiny:v1"}}, SourceKind.OCI, "ghcr.io/acme/tiny:v1"),
        (
            {"http": {"files": [{"url": "https://me:pw@host/a.gguf?signature=x"}, {"url": "https://host/b"}]}},
            SourceKind.HTTP,
            "https://host/a.gguf and 1 more",
        ),
        ({"modelscope": {}}, SourceKind.MODELSCOPE, "acme/tiny (master) at https://modelscope.cn"),
    ],
)
def test_other_sources_have_their_kind_and_an_origin_without_secrets(
    source: dict[str, Any], kind: SourceKind, origin: str
) -> None:
    found = weights_source_of(spec(source=source), HUB)
    assert (kind, origin) == (found.kind, found.origin)


def test_the_fingerprint_of_a_hub_source_is_that_of_earlier_versions() -> None:
    """Markers and Jobs hold it: another one would check, or fetch, every model again."""
    before = "2b6465af6ea8ee4f"
    assert weights_source_of(spec(source={"huggingface": {}}), HUB).fingerprint.startswith(before)
