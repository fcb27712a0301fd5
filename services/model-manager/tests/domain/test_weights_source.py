"""Sources of weights."""

from typing import Any

import pytest

from arks.contracts.resources import ArksModelSpec
from arks.model_manager.domain.weights_source import SourceKind, weights_source_of

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
