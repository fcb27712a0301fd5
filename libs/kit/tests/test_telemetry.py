import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from arks.kit.telemetry import REDACTED, configure_logging, redact


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, config = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**config)
    structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Bearer abc.def", f"Bearer {REDACTED}"),
        ('{"key": "sk-test123456"}', f'{{"key": "sk-{REDACTED}"}}'),
        ("redis://:pass@127.0.0.1:6379/0", f"redis://:{REDACTED}@127.0.0.1:6379/0"),
        ("nats://user:pass@host:4222", f"nats://user:{REDACTED}@host:4222"),
        ("hf_abcdefgh", f"hf_{REDACTED}"),
        ("hf_tokenAbcdefgh", f"hf_{REDACTED}"),
        ("no key HF_TOKEN or hf_token in Secret hub", "no key HF_TOKEN or hf_token in Secret hub"),
        ("nothing to hide at http://127.0.0.1:8080/v1", "nothing to hide at http://127.0.0.1:8080/v1"),
    ],
)
def test_keys_and_passwords_are_masked_in_text(text: str, expected: str) -> None:
    assert expected == redact(text)


def test_a_log_line_is_json_without_secrets_also_in_errors(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("test")
    try:
        raise ValueError("refused Bearer abcdef")
    except ValueError:
        structlog.get_logger("x").warning("call failed", authorization="Bearer x", key="default/a", exc_info=True)
    logging.getLogger("library").warning("got %s", "sk-abcdefgh")
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert ("test", "default/a", REDACTED) == (ours["service"], ours["key"], ours["authorization"])
    assert "abcdef" not in json.dumps(ours)
    assert f"got sk-{REDACTED}" == theirs["event"]
