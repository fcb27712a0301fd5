"""Errors of the system and of libraries as text for people."""

import re

_NUMBER = re.compile(r"^(?:<urlopen error )?\[Errno -?\d+\] (.*?)>?$", re.DOTALL)


def reason_of(error: BaseException) -> str:
    """What happened, without the number that the system gives it; the type of an error without a text."""
    text = str(error)
    found = _NUMBER.match(text)
    return (found[1] if found else text) or type(error).__name__
