"""Programs of model-manager that `arks model` runs: they know how models are stored, this command does not."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from arks.local.cli.failure import fail

_PACKAGE = "arks.model_manager.programs"
Spawn = Callable[[Sequence[str]], "subprocess.Popen[str]"]


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """The result of one file, as `verify` prints it."""

    path: str
    file: str
    size_bytes: int
    fault: str
    recorded: bool


def spawn(command: Sequence[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def verify(path: str, *, sha256: str | None, repair: bool, spawn: Spawn = spawn) -> Iterator[CheckedFile]:
    """Each file, as soon as it is hashed. `repair`: delete what is damaged. Raises Failure."""
    command = [sys.executable, "-m", f"{_PACKAGE}.verify", path]
    command += ["--sha256", sha256] if sha256 else []
    command += ["--repair"] if repair else []
    for line in _lines(command, {0, 1}, spawn):
        yield CheckedFile(**json.loads(line))


def import_file(file: Path, directory: Path, by: str, spawn: Spawn = spawn) -> Iterator[int]:
    """Copy the file into the directory; the bytes that are copied so far. Raises Failure."""
    command = [sys.executable, "-m", f"{_PACKAGE}.import_file", str(file), str(directory), "--by", by]
    for line in _lines(command, {0}, spawn):
        yield int(line)


def _lines(command: Sequence[str], good: set[int], spawn: Spawn) -> Iterator[str]:
    with spawn(command) as process:
        try:
            yield from process.stdout or ()
        except BaseException:
            process.kill()
            raise
        reason = process.stderr.read() if process.stderr else ""
    if process.returncode not in good:
        fail(reason.strip() or f"{command[2]} ended with status {process.returncode}")
