"""Process 1 of a container: starts the program as its child, forwards signals, ends with its status.

The kernel gives process 1 no default action for signals: without a handler of its own SIGTERM does nothing, and a pod
takes its whole grace period to end. The engine cannot have a handler: llama.cpp does not return while it loads.
Standard library only.
"""

import os
import signal
from types import FrameType

_HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


def fork_from_init() -> None:
    """Returns in the child. The parent never returns."""
    # Process 1 loses a signal that comes before its handler; a blocked one waits.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDED_ON)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return

    def hand_on(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in _HANDED_ON:
        signal.signal(number, hand_on)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    while True:
        ended, status = os.wait()  # orphans of the program too
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
