"""Models from sources that are written as URLs."""

from typing import Any

import pytest

from arks.contracts.resources import ArksModel
from arks.local.plan.model_source import manifest
from arks.local.plan.serve import NotServable


def model(url: str, **options: Any) -> ArksModel:
    given = {"namespace": "default", "secret": None, "allow": [], "endpoint": None} | options
    return ArksModel.from_dict(manifest(url, given.pop("name", None), **given))


@pytest.mark.parametrize(
    ("url", "name", "source"),
    [
        ("hf:Qwen/Qwen2.5-0.5B-Instruct", "qwen2-5-0-5b-instruct", {"huggingface": {}}),
        ("hf:Qwen/Qwen2.5-0.5B-GGUF@v2", "qwen2-5-0-5b", {"huggingface": {"revision": "v2"}}),
        ("ms:Qwen/Qwen3-4B", "qwen3-4b", {"modelscope": {}}),
        ("s3://weights/teams/a/qwen/", "qwen", {"s3": {"url": "s3://weights/teams/a/qwen"}}),
        ("gs://weights/qwen", "qwen", {"gs": {"url": "gs://weights/qwen"}}),
        ("oci://ghcr.io/acme/qwen:v1", "qwen", {"oci": {"reference": "ghcr.io/acme/qwen:v1", "plainHttp": False}}),
        (
            "https://host/a/7b%20chat.gguf?x=1",
            "model-7b-chat",
            {"http": {"files": [{"url": "https://host/a/7b%20chat.gguf?x=1"}]}},
        ),
        ("/data/tiny.gguf", "tiny", {"file": {"path": "/data/tiny.gguf"}}),
    ],
)
def test_each_form_gives_a_valid_model(url: str, name: str, source: dict[str, Any]) -> None:
    found = model(url)
    assert found.spec.source is not None
    assert (name, source) == (found.name, found.spec.source.to_dict())


def test_secret_patterns_and_endpoint_are_those_of_the_source() -> None:
    hub = model("hf:acme/tiny", secret="keys", allow=["*.gguf"], endpoint="http://hub").spec.source
    assert hub is not None
    assert hub.huggingface is not None
    assert hub.huggingface.token_secret_ref is not None
    assert ("keys", ["*.gguf"], "http://hub") == (
        hub.huggingface.token_secret_ref.name,
        hub.huggingface.allow_patterns,
        hub.huggingface.endpoint,
    )
    bucket = model("s3://weights/tiny", secret="keys").spec.source
    assert bucket is not None
    assert bucket.s3 is not None
    assert bucket.s3.secret_ref is not None
    assert "keys" == bucket.s3.secret_ref.name


@pytest.mark.parametrize("url", ["acme/tiny", "ftp://host/file", "s3:", "hf:"])
def test_anything_else_is_refused_with_the_forms(url: str) -> None:
    with pytest.raises(NotServable) as caught:
        model(url)
    assert "hf:OWNER/NAME" in caught.value.next_step
