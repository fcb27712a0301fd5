"""`arks run` makes manifests from a repository or a file."""

from pathlib import Path

import pytest

from arks.contracts.resources import KINDS
from arks.local.plan import serve

FILES = [
    "README.md",
    "qwen2.5-0.5b-instruct-fp16.gguf",
    "qwen2.5-0.5b-instruct-q4_0.gguf",
    "qwen2.5-0.5b-instruct-q4_k_m.gguf",
    "qwen2.5-0.5b-instruct-q8_0.gguf",
    "mmproj-q4_k_m.gguf",
]


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct-GGUF", ("Qwen/Qwen2.5-0.5B-Instruct-GGUF", "")),
        ("hf.co/Qwen/Qwen2.5-0.5B-Instruct-GGUF:q8_0", ("Qwen/Qwen2.5-0.5B-Instruct-GGUF", "q8_0")),
        ("https://huggingface.co/a/b/", ("a/b", "")),
    ],
)
def test_a_repository_is_named_as_on_the_hub(argument: str, expected: tuple[str, str]) -> None:
    wish = serve.parse(argument)
    assert expected == (wish.repository, wish.pattern)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("", "qwen2.5-0.5b-instruct-q4_k_m.gguf"),
        ("Q8_0", "qwen2.5-0.5b-instruct-q8_0.gguf"),
        ("*q4_0*", "qwen2.5-0.5b-instruct-q4_0.gguf"),
        ("qwen2.5-0.5b-instruct-fp16.gguf", "qwen2.5-0.5b-instruct-fp16.gguf"),
    ],
)
def test_one_file_of_the_repository_is_chosen(wanted: str, expected: str) -> None:
    assert expected == serve.choose_pattern(FILES, wanted)


def test_all_shards_of_a_model_are_downloaded() -> None:
    shards = [f"big-q4_k_m-0000{number}-of-00002.gguf" for number in (1, 2)]
    assert "big-q4_k_m-*.gguf" == serve.choose_pattern(shards, "")


def test_a_repository_without_a_fitting_file_is_rejected_with_what_it_has() -> None:
    with pytest.raises(serve.NotServable, match="no GGUF file"):
        serve.choose_pattern(["model.safetensors"], "")
    with pytest.raises(serve.NotServable) as rejected:
        serve.choose_pattern(FILES, "q9")
    assert "q4_k_m" in rejected.value.next_step


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (serve.Wish("Qwen/Qwen2.5-0.5B-Instruct-GGUF"), "qwen2-5-0-5b-instruct"),
        (serve.Wish("a/7B-GGUF"), "model-7b"),
        (serve.Wish(file="/m/My_Model.Q4.gguf"), "my-model-q4"),
        (serve.Wish(f"a/{'x' * 90}"), "x" * 46),
    ],
)
def test_the_name_is_valid_for_all_resources(wish: serve.Wish, expected: str) -> None:
    name = serve.name_of(wish)
    assert expected == name
    made = serve.manifests(wish, name, runtime="llamacpp", hub=None, token_secret=None, namespace="default")
    assert [name] * 3 == [KINDS[manifest["kind"]].from_dict(manifest).name for manifest in made]


def test_the_manifests_name_file_hub_and_secret() -> None:
    wish = serve.Wish("a/b", "b-q8_0.gguf")
    model = serve.manifests(
        wish,
        "b",
        runtime="llamacpp",
        hub="http://hub.example",
        token_secret="hf",
        namespace="default",
    )[0]
    expected = {
        "allowPatterns": ["b-q8_0.gguf"],
        "endpoint": "http://hub.example",
        "tokenSecretRef": {"name": "hf"},
    }
    assert expected == model["spec"]["source"]["huggingface"]


def test_a_file_must_be_a_model(tmp_path: Path) -> None:
    model = tmp_path / "m.gguf"
    model.write_bytes(b"GGUF...")
    assert str(model) == serve.parse(str(model)).file
    model.write_bytes(b"<html>")
    with pytest.raises(serve.NotServable, match="is not a GGUF file"):
        serve.parse(str(model))


def test_the_key_of_the_demo_gets_one_more_permission_once() -> None:
    token = {"spec": {"tokenHash": "h", "qos": [{"arksEndpoint": {"name": "smollm2"}}]}}
    spec = serve.with_permission(token, "qwen")
    assert spec is not None
    assert ["smollm2", "qwen"] == [entry["arksEndpoint"]["name"] for entry in spec["qos"]]
    assert serve.with_permission({"spec": spec}, "qwen") is None
