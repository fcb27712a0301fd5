"""Process 1 of a container, tried as an ordinary process."""

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.real
_PROGRAM = """
import os, sys, time
from arks.app_deployer.programs import init
{before}
init.fork_from_init()
print(os.getpid(), flush=True)
{then}
"""


def _start(then: str, *, before: str = "") -> tuple[subprocess.Popen[bytes], int]:
    program = _PROGRAM.format(before=before, then=then)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as output:
        return process, int(output.readline())


def test_a_signal_ends_the_program_and_then_the_container() -> None:
    process, child = _start("time.sleep(60)")
    assert process.pid != child
    process.send_signal(signal.SIGTERM)
    assert 128 + signal.SIGTERM == process.wait(timeout=45)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_signal_that_comes_before_the_handlers_is_handed_on() -> None:
    late = "import signal; install = signal.signal; "
    late += "signal.signal = lambda *given: (time.sleep(0.2), install(*given))[1]"
    process, _ = _start("time.sleep(60)", before=late)
    process.send_signal(signal.SIGTERM)
    assert 128 + signal.SIGTERM == process.wait(timeout=45)


def test_the_container_ends_as_its_program() -> None:
    process, _ = _start("sys.exit(3)")
    assert 3 == process.wait(timeout=45)
