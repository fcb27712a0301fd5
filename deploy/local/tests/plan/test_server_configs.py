from pathlib import Path

import pytest

from arks.local.plan import server_configs

DATA = Path("/home/ada/.arks/data")


@pytest.mark.parametrize(
    "text",
    [
        server_configs.nats(4222, "secret", DATA),
        server_configs.valkey(6379, "secret", DATA),
    ],
)
def test_servers_listen_on_loopback_only_and_need_a_secret(text: str) -> None:
    assert "127.0.0.1" in text
    assert "0.0.0.0" not in text  # noqa: S104  # must be absent
    assert "secret" in text
