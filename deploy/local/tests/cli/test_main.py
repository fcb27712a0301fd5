"""The command line without a running Arks: usage errors, manifests, help."""

import io
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from arks.contracts.resources import ArksToken, Secret
from arks.local.cli.chat import pieces, problem, read_key
from arks.local.cli.common import Exit, Failure
from arks.local.cli.main import app, main
from arks.local.cli.top import parse_duration
from arks.local.client.store import encoded, hashed

ARKS = str(Path(sys.executable).parent / "arks")


@dataclass(frozen=True)
class Done:
    code: int
    stdout: str
    stderr: str


@pytest.fixture
def arks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command in this process, with a home where nothing runs."""

    def run(*arguments: str, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "argv", ["arks", "--home", str(tmp_path / "home"), *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Done(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["get", "models"], Exit.NOT_RUNNING, "Arks does not run"),
        (["status"], Exit.NOT_RUNNING, "start it with `arks up`"),
        (["describe", "model", "x"], Exit.NOT_RUNNING, "Arks does not run"),
        (["usage"], Exit.NOT_RUNNING, "Arks does not run"),
        (["chat", "hello"], Exit.NOT_RUNNING, "Arks does not run"),
        (["token", "create", "ada", "-e", "m"], Exit.NOT_RUNNING, "Arks does not run"),
        (["get", "foos"], Exit.USAGE, "there is no kind 'foos'"),
        (["get", "models,endpoints", "x"], Exit.USAGE, "names go with one kind"),
        (["get", "models", "-o", "xml"], Exit.USAGE, "'xml' is not one of"),
        (["get", "models,endpoints", "-w"], Exit.USAGE, "--watch shows one kind"),
        (["apply"], Exit.USAGE, "nothing to read"),
        (["apply", "-f", "/no/such/file"], Exit.USAGE, "/no/such/file cannot be read: No such file"),
        (["delete"], Exit.USAGE, "say what to delete"),
        (["delete", "model"], Exit.USAGE, "say what to delete"),
        (["events", "--kind", "weather"], Exit.USAGE, "there is no kind of event 'weather'"),
        (["events", "--since", "yesterday"], Exit.USAGE, "not a length of time"),
        (["logs", "nothing"], Exit.FAILED, "there is no log of 'nothing'"),
        (["up", "--port", "99999"], Exit.USAGE, "less than or equal to 65535"),
        (["frobnicate"], Exit.USAGE, "No such command"),
    ],
)
def test_a_mistake_gets_its_exit_code_and_a_sentence(
    arks: Callable[..., Done], arguments: list[str], code: Exit, said: str
) -> None:
    done = arks(*arguments)
    assert (code, "") == (done.code, done.stdout)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_down_without_arks_is_no_error(arks: Callable[..., Done]) -> None:
    done = arks("down")
    assert (0, "Arks does not run.\n") == (done.code, done.stdout)


BAD = """\
apiVersion: arks.ai/v1
kind: ArksModel
metadata:
  name: Qwen
spec:
  model: 7
  sorce: {}
---
kind: ArksModell
"""


def test_all_mistakes_in_manifests_are_said_at_once_with_file_line_and_field(
    arks: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "bad.yaml").write_text(BAD)
    done = arks("apply", "-f", str(tmp_path / "bad.yaml"))
    assert Exit.USAGE == done.code
    for place in (
        "bad.yaml:4: metadata.name:",
        "bad.yaml:6: spec.model:",
        "bad.yaml:7: spec.sorce:",
        "bad.yaml:9: kind:",
    ):
        assert place in done.stderr
    assert "4 errors in manifests" in done.stderr
    assert "nothing was changed" in done.stderr


def test_a_manifest_that_is_not_text_is_refused_with_its_line(arks: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"kind: x\n\xff\xfe")
    done = arks("apply", "-f", str(tmp_path / "binary.yaml"))
    assert Exit.USAGE == done.code
    assert "binary.yaml:2: is not UTF-8 text" in done.stderr


def test_dry_run_checks_without_a_running_arks(arks: Callable[..., Done]) -> None:
    good = b"apiVersion: arks.ai/v1\nkind: ArksEndpoint\nmetadata: {name: qwen}\nspec: {}\n"
    done = arks("apply", "--dry-run", "-f", "-", stdin=good)
    assert (0, "arksendpoint/qwen is valid\n") == (done.code, done.stdout)


def test_a_key_file_without_a_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(Failure, match="does not hold a key"):
        read_key(tmp_path / "empty")


@pytest.mark.parametrize("command", ["up", "get", "apply", "delete", "logs", "top", "events", "chat", "usage"])
def test_help_shows_examples(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"])
    assert 0 == done.exit_code
    assert f"  arks {command}" in done.stdout


def test_help_answers_at_once() -> None:
    def took(*command: str) -> float:
        """CPU time: what the machine does beside it does not count."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=90)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    little = min(took(sys.executable, "-c", "import asyncio") for _ in range(4))
    assert min(took(ARKS, "--help") for _ in range(4)) < 3.5 * little


def test_durations_have_units() -> None:
    assert [90.0, 900.0, 7200.0, 604800.0] == [
        parse_duration(text).total_seconds() for text in ("90s", "15m", "2h", "7d")
    ]


def test_only_the_hash_of_a_key_is_stored() -> None:
    spec = {
        "token": "sk-secret",
        "previous": [{"token": "sk-older", "until": "2027-01-01T00:00:00Z"}],
        "qos": [{"arksEndpoint": {"name": "qwen"}}],
    }
    token = ArksToken.from_dict(
        {"apiVersion": "arks.ai/v1", "kind": "ArksToken", "metadata": {"name": "ada"}, "spec": spec}
    )
    stored = hashed(token, b"pepper")
    text = str(stored.to_dict(reveal_secrets=True))
    assert "sk-" not in text
    assert 2 == text.count("hmac-sha256:")
    assert stored == hashed(stored, b"pepper")


def test_values_of_a_secret_are_kept_in_base64_without_line_breaks() -> None:
    secret = Secret.from_dict(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s"},
            "data": {"a": "aGVs\n bG8=", "b": "eA=="},
            "stringData": {"b": "clear"},
        }
    )
    assert {"a": "aGVsbG8=", "b": "Y2xlYXI="} == encoded(secret)


def test_a_streamed_answer_is_put_together_from_its_events() -> None:
    lines = [
        'data: {"choices":[{"delta":{"role":"assistant"}}]}',
        "",
        ": keep-alive",
        'data: {"choices":[{"delta":{"content":"Hel"}}]}',
        'data: {"choices":[{"delta":{"content":"lo"}}]}',
        'data: {"choices":[],"usage":{"total_tokens":3}}',
        "data: [DONE]",
    ]
    assert "Hello" == "".join(pieces(iter(lines)))


def test_a_refusal_is_told_with_the_next_step() -> None:
    message, next_step = problem(404, '{"error": {"message": "no such model"}}', "qwen")
    assert "qwen did not answer (404): no such model" == message
    assert "arks get endpoints" in next_step
    assert "qwen did not answer (502): boom" == problem(502, "boom\n", "qwen")[0]
