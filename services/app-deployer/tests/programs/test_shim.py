"""The shim with engines that are shell commands."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from arks.app_deployer.programs import shim
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real


async def keep(directory: Path, script: str, owner: int | None = None, **changes: Any) -> None:
    """Start a shim with a shell script as its engine; returns when it is independent."""
    owner = owner or os.getpid()
    launch = {
        "command": ["/bin/sh", "-c", script],
        "owner_pid": owner,
        "owner_start_ticks": shim.start_ticks(owner),
        "log_bytes": 1_000_000,
        "kill_seconds": 0.3,
    }
    (directory / "launch.json").write_text(json.dumps(launch | changes))
    command = (sys.executable, "-I", "-S", shim.__file__, str(directory))
    assert 0 == await (await asyncio.create_subprocess_exec(*command)).wait()


def state(directory: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((directory / "state.json").read_text())
    except FileNotFoundError:
        return {}
    return found


async def ended(directory: Path) -> dict[str, Any]:
    await eventually(lambda: state(directory).get("status") == "ended", what="the end noted")
    return state(directory)


async def running(directory: Path) -> dict[str, Any]:
    await eventually(lambda: state(directory).get("status") == "running", what="the start noted")
    return state(directory)


def removed(pid: int) -> bool:
    """Ended; a zombie counts too."""
    try:
        return b") Z" in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True


async def test_output_and_exit_status_are_kept(tmp_path: Path) -> None:
    await keep(tmp_path, "echo out; echo err >&2; exit 7")
    noted = await ended(tmp_path)
    assert (7, False) == (noted["exit_code"], noted["asked"])
    assert "out\nerr\n" == (tmp_path / "engine.log").read_text()


async def test_a_signal_that_ended_the_engine_is_noted(tmp_path: Path) -> None:
    await keep(tmp_path, "kill -SEGV $$")
    assert -signal.SIGSEGV == (await ended(tmp_path))["exit_code"]


async def test_sigterm_to_the_shim_ends_the_engine_and_what_it_started(tmp_path: Path) -> None:
    await keep(tmp_path, "sleep 1000 & echo $!; wait")
    noted = await running(tmp_path)
    await eventually(lambda: (tmp_path / "engine.log").read_text().endswith("\n"), what="the child's number")
    child = int((tmp_path / "engine.log").read_text())
    os.kill(noted["shim_pid"], signal.SIGTERM)
    assert (await ended(tmp_path))["asked"]
    await eventually(lambda: all(removed(pid) for pid in (noted["pid"], noted["shim_pid"], child)), what="all gone")


async def test_an_engine_that_ignores_sigterm_is_killed_after_its_time(tmp_path: Path) -> None:
    await keep(tmp_path, "trap '' TERM; echo trapped; while :; do sleep 0.05; done")
    noted = await running(tmp_path)
    await eventually(lambda: (tmp_path / "engine.log").read_text() == "trapped\n", what="the trap set")
    os.kill(noted["shim_pid"], signal.SIGTERM)
    assert -signal.SIGKILL == (await ended(tmp_path))["exit_code"]


async def test_the_engine_dies_with_its_shim(tmp_path: Path) -> None:
    await keep(tmp_path, "sleep 1000")
    noted = await running(tmp_path)
    os.kill(noted["shim_pid"], signal.SIGKILL)
    await eventually(lambda: removed(noted["pid"]), what="the engine gone")


async def test_both_die_with_their_owner(tmp_path: Path) -> None:
    owner = await asyncio.create_subprocess_exec("sleep", "1000")
    await keep(tmp_path, "sleep 1000", owner=owner.pid)
    noted = await running(tmp_path)
    owner.kill()
    await owner.wait()
    await eventually(lambda: removed(noted["pid"]) and removed(noted["shim_pid"]), what="both gone")


async def test_without_its_owner_nothing_starts(tmp_path: Path) -> None:
    await keep(tmp_path, "echo started", owner_start_ticks=1)
    await asyncio.sleep(0.2)  # nothing may happen, which no condition shows
    assert {} == state(tmp_path)


async def test_a_shim_is_a_leader_of_its_own_session_and_small(tmp_path: Path) -> None:
    await keep(tmp_path, "sleep 1000")
    noted = await running(tmp_path)
    try:
        assert noted["shim_pid"] == os.getsid(noted["shim_pid"])
        lines = Path(f"/proc/{noted['shim_pid']}/status").read_text().splitlines()
        rss_kib = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
        assert rss_kib < 12 * 1024
    finally:
        os.kill(noted["shim_pid"], signal.SIGTERM)


async def test_the_log_is_bounded_and_the_part_before_is_kept(tmp_path: Path) -> None:
    await keep(tmp_path, "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done", log_bytes=8192)
    await ended(tmp_path)
    now, before = (tmp_path / "engine.log").read_text(), (tmp_path / "engine.log.1").read_text()
    assert len(now) <= 8192
    assert now.endswith("line 2999\n")
    assert before
    assert [] == [path.name for path in tmp_path.iterdir() if path.name.startswith("engine.log.2")]


async def test_the_end_of_a_burst_larger_than_the_log_is_kept(tmp_path: Path) -> None:
    log = shim.Log(str(tmp_path), 8192)
    log.write(b"a" * 20000 + b"the end\n")
    log.write(b"")
    now, before = (tmp_path / "engine.log").read_bytes(), (tmp_path / "engine.log.1").read_bytes()
    assert now.endswith(b"the end\n")
    assert max(len(now), len(before)) <= 8192


async def test_the_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    for run in ("first", "second"):
        (tmp_path / "state.json").unlink(missing_ok=True)
        await keep(tmp_path, f"echo {run}")
        await ended(tmp_path)
    assert ("second\n", "first\n") == (
        (tmp_path / "engine.log").read_text(),
        (tmp_path / "engine.log.1").read_text(),
    )


async def test_a_program_that_cannot_start_is_reported(tmp_path: Path) -> None:
    await keep(tmp_path, "", command=["/nowhere/engine"])
    assert 127 == (await ended(tmp_path))["exit_code"]
    assert "cannot start /nowhere/engine" in (tmp_path / "engine.log").read_text()


async def test_a_child_that_holds_the_output_does_not_hold_up_the_end(tmp_path: Path) -> None:
    await keep(tmp_path, "setsid sleep 1000 & echo $!; exit 3")
    assert 3 == (await ended(tmp_path))["exit_code"]
    os.kill(int((tmp_path / "engine.log").read_text()), signal.SIGKILL)
