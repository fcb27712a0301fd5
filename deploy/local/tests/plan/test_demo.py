"""`arks up` creates the demo and never takes back what a user changed in it."""

from pathlib import Path
from typing import Any

import pytest

from arks.local.plan import demo

DESIRED = {
    manifest["kind"]: dict(manifest) for manifest in demo.manifests(Path("/venv/new/m.gguf"), "hash-of-demo-key")
}


def changed(kind: str, **fields: Any) -> dict[str, Any]:
    return {**DESIRED[kind], "spec": {**DESIRED[kind]["spec"], **fields}}


@pytest.mark.parametrize("kind", DESIRED)
def test_what_is_missing_is_created_and_what_exists_is_not_applied(kind: str) -> None:
    assert DESIRED[kind] == demo.to_apply(DESIRED[kind], None)
    assert demo.to_apply(DESIRED[kind], DESIRED[kind]) is None
    assert not demo.is_changed(DESIRED[kind], DESIRED[kind])


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("ArksApplication", {"replicas": 2}),
        ("ArksModel", {"model": "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF", "source": {"huggingface": {}}}),
        ("ArksEndpoint", {"defaultWeight": 7}),
        ("ArksQuota", {"quotas": [{"type": "total", "value": 5}]}),
        ("ArksToken", {"qos": [{"arksEndpoint": {"name": "qwen"}}]}),
    ],
)
def test_a_change_of_the_user_is_kept(kind: str, fields: dict[str, Any]) -> None:
    existing = changed(kind, **fields)
    assert demo.to_apply(DESIRED[kind], existing) is None
    assert demo.is_changed(DESIRED[kind], existing)


def test_a_new_key_file_changes_only_the_hash_of_the_token() -> None:
    existing = changed("ArksToken", tokenHash="old", disabled=True)
    applied = demo.to_apply(DESIRED["ArksToken"], existing)
    assert applied is not None
    assert {**existing["spec"], "tokenHash": "hash-of-demo-key"} == applied["spec"]


def test_the_model_file_follows_the_installed_package() -> None:
    existing = changed("ArksModel", source={"file": {"path": "/venv/old/m.gguf"}})
    assert DESIRED["ArksModel"] == demo.to_apply(DESIRED["ArksModel"], existing)


def test_an_application_scaled_to_0_is_not_waited_for() -> None:
    assert not demo.answers(changed("ArksApplication", replicas=0))
    assert demo.answers(changed("ArksApplication", replicas=3))
    assert demo.answers(None)
