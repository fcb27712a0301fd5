"""A program that stands back leaves the processor to others, and changes no other program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = tuple(map(int, os.uname().release.split(".")[:2]))
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
text = group.read_text() if group.exists() else ""
print(*{now - before for now in rights()}, (text.split() or ["-"])[-1])
done.set()
"""


def number_of_our_session() -> str:
    """What the program below prints of its session: "-" where the kernel does not divide the processor among them."""
    return (AUTOGROUP.read_text().split() or ["-"])[-1] if AUTOGROUP.exists() else "-"


def after_standing_back(*, new_session: bool) -> list[str]:
    """By how much the threads are nicer than before, and the number of the session."""
    line = [sys.executable, "-c", STAND_BACK]
    found = subprocess.run(line, start_new_session=new_session, check=True, capture_output=True, text=True, timeout=60)
    return found.stdout.split()


@pytest.mark.skipif(number_of_our_session() == "-", reason="this kernel does not divide the processor among sessions")
def test_a_program_that_leads_a_session_makes_the_session_stand_back() -> None:
    assert ["3", "3"] == after_standing_back(new_session=True)


def test_a_program_in_the_session_of_another_changes_its_own_threads_only() -> None:
    assert ["3", number_of_our_session()] == after_standing_back(new_session=False)


READ_TURN = """
import asyncio, ctypes, struct, threading
from arks.kit.process import stand_back

asyncio.run(stand_back(0))
found = ctypes.create_string_buffer(56)
SCHED_GETATTR = 315
ctypes.CDLL(None).syscall(SCHED_GETATTR, 0, found, 56, 0)
print(struct.unpack("=IIQiIQQQ", found.raw[:48])[5])
"""


@pytest.mark.skipif(
    KERNEL < (6, 12) or os.uname().machine != "x86_64", reason="only Linux 6.12 and newer has turns of a thread's own"
)
def test_a_program_that_stands_back_has_long_turns_which_others_interrupt() -> None:
    found = subprocess.run([sys.executable, "-c", READ_TURN], check=True, capture_output=True, text=True, timeout=60)
    assert 20_000_000 == int(found.stdout)
