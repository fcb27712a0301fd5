"""Settings."""

import pytest

from arks.openai_proxy.config import Settings


@pytest.mark.parametrize(
    ("environment", "targets"),
    [
        ({}, ["0.0.0.0:62000"]),
        ({"HTTP_FORWARD_GRPC_HOST": "decoder", "HTTP_FORWARD_GRPC_PORT": "7"}, ["decoder:7"]),
        ({"HTTP_FORWARD_GRPC_HOST": "fd00::1"}, ["[fd00::1]:62000"]),
        ({"HTTP_FORWARD_GRPC_HOST": "a:7,b"}, ["a:7", "b:62000"]),
    ],
)
def test_the_page_s_variables_name_the_engine(
    environment: dict[str, str], targets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_FORWARD_GRPC_HOST", "HTTP_FORWARD_GRPC_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert targets == Settings().targets
