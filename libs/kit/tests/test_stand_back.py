"""A program that stands back leaves the processor to others, and changes no other program."""

import subprocess
import sys
from pathlib import Path

import pytest

AUTOGROUP = Path("/proc/self/autogroup")
STAND_BACK = """
import asyncio, os, pathlib, threading
from arks.kit.process import stand_back

def rights():
    return [os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in pathlib.Path("/proc/self/task").iterdir()]

before, done = os.nice(0), threading.Event()
threading.Thread(target=done.wait).start()
asyncio.run(stand_back(3))
group = pathlib.Path("/proc/self/autogroup")
print(*{now - before for now in rights()}, group.read_text().split()[-1] if group.exists() else "-")
done.set()
"""


def after_standing_back(*, new_session: bool) -> list[str]:
    """By how much the threads are nicer than before, and the number of the session."""
    line = [sys.executable, "-c", STAND_BACK]
    found = subprocess.run(line, start_new_session=new_session, check=True, capture_output=True, text=True, timeout=60)
    return found.stdout.split()


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel does not divide the processor among sessions")
def test_a_program_that_leads_a_session_makes_the_session_stand_back() -> None:
    assert ["3", "3"] == after_standing_back(new_session=True)


def test_a_program_in_the_session_of_another_changes_its_own_threads_only() -> None:
    ours = AUTOGROUP.read_text().split()[-1] if AUTOGROUP.exists() else "-"
    assert ["3", ours] == after_standing_back(new_session=False)
