"""What a new user gets wrong, with the message and the next step. REWRITE_GOLDEN=1 writes the table.

Arks does not run here: mistakes that only a running Arks can see are in `test_command.py`.
"""

import io
import re
import socket
import sys
from pathlib import Path

import pytest

from arks.kit.testing.golden import assert_golden
from arks.local.cli.main import main

GOLDEN = Path(__file__).parent / "golden" / "mistakes.txt"
APPLICATION = "apiVersion: arks.ai/v1\nkind: ArksApplication\nmetadata: {name: qwen}\nspec:\n"
FILES = {
    "empty.yaml": "",
    "text.yaml": "hello",
    "tab.yaml": "kind: ArksModel\n\tmetadata: x\n",
    "both.yaml": APPLICATION + "  model: {name: qwen}\n---\nkind: ArksModel\nmetadata: {name: qwen}\nspec: {}\n",
    "no-version.yaml": "kind: ArksModel\nmetadata: {name: qwen}\nspec: {model: a/b}\n",
    "kind.yaml": "apiVersion: arks.ai/v1\nkind: ArkModel\nmetadata: {name: qwen}\n",
    "upper.yaml": "apiVersion: arks.ai/v1\nkind: ArksModel\nmetadata: {name: Qwen}\nspec: {model: a/b}\n",
    "field.yaml": APPLICATION + "  modle: {name: qwen}\n  model: {name: qwen}\n  instanceSpec: {}\n",
    "runtime.yaml": APPLICATION + "  runtime: vLLM\n  model: {name: qwen}\n  instanceSpec: {}\n",
    "number.yaml": APPLICATION + '  replicas: "two"\n  model: {name: qwen}\n  instanceSpec: {}\n',
    "nospec.yaml": "apiVersion: arks.ai/v1\nkind: ArksQuota\nmetadata: {name: q}\n",
    "secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: hub}\nstringdata: {}\n",
    "notgguf.gguf": "not a model",
}
MISTAKES = [
    "frobnicate",
    "start",
    "stop",
    "ls",
    "pull qwen",
    "up --port 99999",
    "up --prot 9000",
    "down now",
    "status",
    "get models",
    "get modles",
    "get pods",
    "get ,",
    "get models/",
    "get models,endpoints x",
    "get models -o xml",
    "get models,endpoints -w",
    "get",
    "describe",
    "describe model",
    "apply",
    "apply -f none.yaml",
    "apply -f empty.yaml",
    "apply -f text.yaml",
    "apply -f tab.yaml",
    "apply -f no-version.yaml",
    "apply -f kind.yaml",
    "apply -f both.yaml",
    "apply -f upper.yaml",
    "apply -f field.yaml",
    "apply -f runtime.yaml",
    "apply -f number.yaml",
    "apply -f nospec.yaml",
    "apply -f secret.yaml",
    "apply -f directory",
    "apply models.yaml",
    "delete",
    "delete model",
    "delete model qwen -f field.yaml",
    "scale app qwen",
    "scale app qwen -1",
    "usage --from 2026-10-01",
    "scale qwen 2",
    "restart qwen",
    "delete qwen",
    "edit qwen",
    "explain model.spec",
    "scale model qwen 2",
    "restart endpoint qwen",
    "edit all",
    "wait app qwen --for weather",
    "logs nothing",
    "logs nothing --since yesterday",
    "events --kind weather",
    "events --for secret/x",
    "events --since yesterday",
    "usage --by user",
    "usage --month october",
    "usage --since 2026-10-31 --until 2026-10-01",
    "usage --prices none.yaml",
    "usage --prices text.yaml",
    "usage --prices nospec.yaml",
    "usage --since yesterday",
    "usage --month 2026-10 --since 2026-10-01",
    "run",
    "run qwen",
    "run missing.gguf",
    "run notgguf.gguf",
    "run directory",
    "run a/b -o json",
    "chat hello",
    "env",
    "token",
    "token creat ada",
    "token create ada",
    "token create ada -e m --limit rpm:60",
    "token create ada -e m --expires soon",
    "fields modle",
    "fields model.spec.sorce",
    "completion powershell",
    "rollout restart app qwen",
    "rollout history app qwen",
    "rollout undo app qwen",
    "rollout status app qwen",
    "rollout status app/qwen",
    "token create ada -e m --rpm 60",
    "replay none.jsonl",
    "replay text.yaml",
]


def run(arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.setenv("ARKS_HOME", "home")
    monkeypatch.setattr(sys, "argv", ["arks", *arguments])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    assert "" == captured.out or not arguments[1:]
    return int(ended.value.code or 0), captured.err or captured.out


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "directory").mkdir()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_each_mistake_has_a_message_and_a_next_step(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = []
    for line in MISTAKES:
        code, text = run(line.split(), capsys, monkeypatch)
        assert code in {1, 2, 3}, line
        assert "Traceback" not in text
        assert "internal error" not in text
        short = text if "Commands:" not in text else text.partition("\n")[0] + "\n(help)\n"
        parts.append(f"$ arks {line}   -> {code}\n{short.replace(str(directory), '.')}")
    assert_golden(GOLDEN, "\n".join(parts))


def test_every_message_has_a_next_step() -> None:
    for block in re.split(r"\n(?=\$ arks)", GOLDEN.read_text()):
        assert "\n      " in block or "(help)" in block, block


def test_a_port_in_use_names_its_user_and_another_port(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, text = run(["up", "--port", str(port)], capsys, monkeypatch)
    assert 1 == code
    assert f"port {port} is in use by " in text
    assert f"arks up --port {port + 1}" in text
