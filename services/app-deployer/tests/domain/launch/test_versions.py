"""Which version of an engine an image has."""

import pytest

from arks.app_deployer.domain.launch.versions import NEWEST, version_of


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("vllm/vllm-openai:v0.8.2", "0.8.2"),
        ("lmsysorg/sglang:v0.5.1.post1-cu126", "0.5.1"),
        ("registry.example.com:5000/team/vllm:0.19.0-cuda12", "0.19.0"),
        ("nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.0.1", "1.0.1"),
        ("vllm:cu12.8-v0.20.1@sha256:0123", "0.20.1"),
        ("vllm/vllm-openai:latest", NEWEST),
        ("vllm/vllm-openai:nightly-0123abc", NEWEST),
        ("scitixai/k8s/dynamo:vllm", None),
        ("vllm/vllm-openai", None),
        ("registry.example.com:5000/vllm", None),
        ("vllm@sha256:0123", None),
        ("", None),
    ],
)
def test_the_tag_has_the_version(image: str, version: str | None) -> None:
    assert version == version_of(image)
