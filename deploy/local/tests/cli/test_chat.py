from pathlib import Path

import pytest

from arks.local.cli.chat import explain_error
from arks.local.cli.failure import Failure
from arks.local.cli.key_file import read_key


def test_a_key_file_without_a_key_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(Failure, match="does not contain an API key"):
        read_key(tmp_path / "empty")


def test_an_error_response_is_shown_with_the_next_step() -> None:
    message, next_step = explain_error(404, '{"error": {"message": "no such model"}}', "qwen")
    assert "qwen did not answer (404): no such model" == message
    assert "arks get endpoints" in next_step
    assert "qwen did not answer (502): boom" == explain_error(502, "boom\n", "qwen")[0]


def test_the_next_step_after_a_limit_shows_limits() -> None:
    next_step = explain_error(429, "{}", "qwen")[1]
    assert "arks token list" in next_step
    assert "arks quota" in next_step
