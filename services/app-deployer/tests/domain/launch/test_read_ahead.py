"""The script that reads a model into the page cache: it runs in images of engines."""

import signal
import subprocess
import sys
from pathlib import Path

from arks.app_deployer.domain.launch import read_ahead


def run(path: Path, *then: str) -> subprocess.CompletedProcess[str]:
    line = read_ahead.command(sys.executable, str(path), then)
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=True)


def test_all_files_of_a_model_are_read_and_nothing_of_arks(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".arks").mkdir()
    (tmp_path / "a.safetensors").write_bytes(bytes(9_000_000))
    (tmp_path / "sub/b.safetensors").write_bytes(bytes(1_000_000))
    (tmp_path / ".arks/partial").write_bytes(bytes(5_000_000))
    assert "read-ahead: 10 MB in" in run(tmp_path).stderr
    assert "read-ahead: 9 MB in" in run(tmp_path / "a.safetensors").stderr


def test_a_file_that_cannot_be_read_does_not_keep_the_engine_from_starting(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert "serves\n" == run(tmp_path, "echo", "serves").stdout
    assert "serves\n" == run(tmp_path / "nothing", "echo", "serves").stdout


def test_the_script_becomes_the_engine(tmp_path: Path) -> None:
    """Same process: what watches or ends it has the engine."""
    line = read_ahead.command(sys.executable, str(tmp_path), ["sh", "-c", "echo $$; read line"])
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.pid == int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
