import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from arks.kit.process import end, spawn
from arks.kit.testing.wait import eventually

CHILD = "import time; print('up', flush=True); time.sleep(600)"
PARENT = f"""
import asyncio, pathlib, sys
from arks.kit.process import spawn
async def main():
    child = await spawn([sys.executable, '-c', {CHILD!r}], log_file=pathlib.Path(sys.argv[1]))
    print(child.pid, flush=True)
    await child.wait()
asyncio.run(main())
"""

MANY_OBJECTS = """
import gc
from arks.kit.process import collect_rarely
collect_rarely()
begun = []
gc.callbacks.append(lambda phase, _: begun.append(phase))
kept = [[number] for number in range(20_000)]
print(len(begun), gc.get_freeze_count() > 0)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_child_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tmp_path / "log"), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    assert alive(child)
    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()
    await eventually(lambda: not alive(child), what="the end of the child")


async def test_a_child_that_ignores_sigterm_is_killed_after_the_grace_period(tmp_path: Path) -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    log_file = tmp_path / "log"
    process = await spawn([sys.executable, "-c", script], log_file=log_file)
    await eventually(lambda: "up" in log_file.read_text())
    assert -signal.SIGKILL == await end(process, grace_seconds=0.05)


async def test_a_missing_program_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        await spawn(["no-such-program"], log_file=tmp_path / "log")


async def test_a_batch_of_objects_begins_no_garbage_collection(tmp_path: Path) -> None:
    child = await spawn([sys.executable, "-c", MANY_OBJECTS], log_file=tmp_path / "log")
    assert 0 == await child.wait()
    assert "0 True\n" == (tmp_path / "log").read_text()
