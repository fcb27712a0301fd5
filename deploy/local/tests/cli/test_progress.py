import io
import time

import pytest
import rich.console

from arks.local.cli.progress import LineProgress, progress


def test_a_step_that_is_no_longer_done_loses_its_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    console = rich.console.Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(rich.console, "Console", lambda: console)
    with progress(time.monotonic()) as steps:
        steps.step("application", "Running", done=True)
        steps.step("application", "Creating, 0 of 1 replicas serve")
    assert isinstance(console.file, io.StringIO)
    last = console.file.getvalue().rpartition("application")
    assert "✓" not in last[0].rpartition("\n")[2]
    assert "Creating" in last[2]


def test_a_log_has_a_line_for_each_change_and_none_for_repetitions(capsys: pytest.CaptureFixture[str]) -> None:
    steps = LineProgress(time.monotonic())
    for text, done in (("Creating", False), ("Running", True), ("Running", True), ("Failed", False), ("Running", True)):
        steps.step("application", text, done=done)
    assert ["Running", "Failed", "Running"] == [line.split()[-1] for line in capsys.readouterr().out.splitlines()]
