"""What a spec orders, and which file engines load."""

from typing import Any

import pytest

from arks.contracts.resources import ArksModelSpec
from arks.model_manager.domain.source import SourceKind, loadable, order_of

HUB = "https://hub.example"


def spec(**fields: Any) -> ArksModelSpec:
    return ArksModelSpec.model_validate({"model": "acme/tiny", **fields})


def test_a_hub_source_has_defaults() -> None:
    order = order_of(spec(source={"huggingface": {}}), HUB)
    assert (SourceKind.HUB, "acme/tiny", HUB, "main") == (order.kind, order.repository, order.endpoint, order.revision)


def test_no_source_is_storage_that_others_fill() -> None:
    assert SourceKind.STORED is order_of(spec(), HUB).kind


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": "http://mirror"},
        {"revision": "v2"},
        {"allowPatterns": ["*.gguf"]},
        {"ignorePatterns": ["*.gguf"]},
    ],
)
def test_a_change_of_what_is_wanted_is_another_order(change: dict[str, Any]) -> None:
    before = order_of(spec(source={"huggingface": {}}), HUB)
    assert before.fingerprint != order_of(spec(source={"huggingface": change}), HUB).fingerprint


def test_another_secret_is_the_same_order() -> None:
    with_token = order_of(spec(source={"huggingface": {"tokenSecretRef": "hf-token"}}), HUB)
    assert with_token.fingerprint == order_of(spec(source={"huggingface": {}}), HUB).fingerprint


def test_a_password_in_the_address_is_not_shown() -> None:
    order = order_of(spec(source={"huggingface": {"endpoint": "http://me:secret@mirror"}}), HUB)
    assert "acme/tiny (main) at http://mirror" == order.origin


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["model.gguf", "README.md"], "model.gguf"),
        (["q/x-00001-of-00002.gguf", "q/x-00002-of-00002.gguf"], "q/x-00001-of-00002.gguf"),
        (["x.gguf", "mmproj-x.gguf"], "x.gguf"),
        (["x-q4.gguf", "x-q8.gguf"], ""),
        (["config.json", "model.safetensors"], ""),
        (["config.json", "model.safetensors", "x.gguf"], ""),
        ([], ""),
    ],
)
def test_the_one_gguf_model_is_loaded_by_its_file_everything_else_by_its_directory(
    files: list[str], expected: str
) -> None:
    assert expected == loadable(files)
