"""Errors of the arks command, with the next step, and its exit codes."""

from enum import IntEnum
from typing import NoReturn


class Exit(IntEnum):
    """Exit codes of the arks command; `arks --help` lists them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    TIMED_OUT = 4


class Failure(Exception):
    """Ends the command with a message, the next step, and an exit code."""

    def __init__(self, message: str, next_step: str = "", code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.next_step = next_step
        self.code = code


def fail(message: str, next_step: str = "", code: Exit = Exit.FAILED) -> NoReturn:
    raise Failure(message, next_step, code)
