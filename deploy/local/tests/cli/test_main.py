"""The command line while Arks is not running: usage errors, manifests, help."""

import io
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from arks.local.cli import diff, up
from arks.local.cli.catalog import COMMANDS
from arks.local.cli.commands import whole_app
from arks.local.cli.failure import Exit
from arks.local.cli.main import main

ARKS = str(Path(sys.executable).parent / "arks")


@dataclass(frozen=True)
class Result:
    code: int
    stdout: str
    stderr: str


@pytest.fixture
def arks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs the command in this process, with a home in which Arks is not running."""

    def run(*arguments: str, stdin: bytes = b"") -> Result:
        monkeypatch.setenv("ARKS_HOME", str(tmp_path / "home"))
        monkeypatch.setattr(sys, "argv", ["arks", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["get", "models"], Exit.NOT_RUNNING, "Arks is not running"),
        (["status"], Exit.NOT_RUNNING, "start it with `arks up`"),
        (["describe", "model", "x"], Exit.NOT_RUNNING, "Arks is not running"),
        (["usage"], Exit.NOT_RUNNING, "Arks is not running"),
        (["chat", "hello"], Exit.NOT_RUNNING, "Arks is not running"),
        (["token", "create", "ada", "-e", "m"], Exit.NOT_RUNNING, "Arks is not running"),
        (["get", "foos"], Exit.USAGE, "there is no kind 'foos'"),
        (["get", "models,endpoints", "x"], Exit.USAGE, "names need exactly one kind"),
        (["get", "models", "-o", "xml"], Exit.USAGE, "'xml' is not one of"),
        (["get", "models,endpoints", "-w"], Exit.USAGE, "--watch shows one kind"),
        (["apply"], Exit.USAGE, "no manifest given"),
        (["apply", "-f", "/no/such/file"], Exit.USAGE, "cannot read /no/such/file: No such file"),
        (["delete"], Exit.USAGE, "no resource given"),
        (["delete", "model"], Exit.USAGE, "no name given"),
        (["events", "--kind", "weather"], Exit.USAGE, "there is no kind of event 'weather'"),
        (["events", "--since", "yesterday"], Exit.USAGE, "neither a duration nor a date"),
        (["logs", "nothing"], Exit.FAILED, "there is no log of 'nothing'"),
        (["up", "--port", "99999"], Exit.USAGE, "less than or equal to 65535"),
        (["frobnicate"], Exit.USAGE, "no such command"),
    ],
)
def test_a_mistake_gets_its_exit_code_and_a_message(
    arks: Callable[..., Result], arguments: list[str], code: Exit, message: str
) -> None:
    done = arks(*arguments)
    assert (code, "") == (done.code, done.stdout)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_down_without_arks_is_no_error(arks: Callable[..., Result]) -> None:
    done = arks("down")
    assert (0, "Arks is not running.\n") == (done.code, done.stdout)


def test_an_interrupted_up_names_what_goes_on_and_how_to_stop_it(
    arks: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(up, "_started", interrupted)
    message = "arks: what was started goes on without this command\n      `arks up` waits again, `arks down` stops it\n"
    assert Result(Exit.FAILED, "", message) == arks("up")


@pytest.mark.parametrize(
    ("found", "expected"),
    [("-a\n+b\n", Result(1, "-a\n+b\n", "")), ("", Result(0, "", "No differences.\n"))],
    ids=["different", "equal"],
)
def test_diff_prints_differences_alone(
    arks: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, found: str, expected: Result
) -> None:
    async def diffs(*_: object) -> list[str]:
        return [found]

    monkeypatch.setattr(diff, "_diffs", diffs)
    endpoint = b"apiVersion: arks.ai/v1\nkind: ArksEndpoint\nmetadata: {name: a}\nspec: {}\n"
    assert expected == arks("diff", "-f", "-", stdin=endpoint)


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


def test_all_errors_in_manifests_are_listed_at_once_with_file_line_and_field(
    arks: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "bad.yaml").write_text(BAD)
    done = arks("apply", "-f", str(tmp_path / "bad.yaml"))
    assert Exit.USAGE == done.code
    for location in (
        "bad.yaml:4: metadata.name:",
        "bad.yaml:6: spec.model:",
        "bad.yaml:7: spec.sorce:",
        "bad.yaml:9: kind:",
    ):
        assert location in done.stderr
    assert "4 errors in manifests" in done.stderr
    assert "nothing was changed" in done.stderr


def test_a_manifest_that_is_not_text_is_rejected_with_its_line(arks: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"kind: x\n\xff\xfe")
    done = arks("apply", "-f", str(tmp_path / "binary.yaml"))
    assert Exit.USAGE == done.code
    assert "binary.yaml:2: is not UTF-8 text" in done.stderr


def test_dry_run_works_while_arks_is_not_running(arks: Callable[..., Result]) -> None:
    good = b"apiVersion: arks.ai/v1\nkind: ArksEndpoint\nmetadata: {name: qwen}\nspec: {}\n"
    done = arks("apply", "--dry-run", "-f", "-", stdin=good)
    assert (0, "arksendpoint/qwen is valid\n") == (done.code, done.stdout)


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"token", "down"}))
def test_help_shows_examples(command: str) -> None:
    done = CliRunner().invoke(whole_app(), [command, "--help"])
    assert 0 == done.exit_code
    assert f"arks {command}" in done.stdout.partition("\n\n")[2]


def test_help_is_printed_at_once() -> None:
    def took(*command: str) -> float:
        """CPU time, which other processes of the machine do not affect."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=90)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    baseline = min(took(sys.executable, "-c", "import asyncio") for _ in range(4))
    assert min(took(ARKS, "--help") for _ in range(4)) < 3.5 * baseline


def test_help_into_a_reader_that_has_closed_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {ARKS} --help | true; {ARKS} | true"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
