"""Errors that users can act on. Adapters translate errors of libraries into these, `from error`.

ArksError
├── Invalid       the input is wrong: names the field and the rule
├── NotFound      the thing named does not exist
├── Conflict      another writer changed it first, or it exists already
└── Unavailable   a dependency (NATS, Redis, engine, disk ...) fails at the moment; a retry may help
"""

import re

_NUMBER = re.compile(r"^(?:<urlopen error )?\[Errno -?\d+\] (.*?)>?$", re.DOTALL)


class ArksError(Exception):
    """The message names the object, its location and, if there is one, the next step. It never holds a secret."""


class Invalid(ArksError):
    pass


class NotFound(ArksError):
    pass


class Conflict(ArksError):
    pass


class Unavailable(ArksError):
    pass


def reason_of(error: BaseException) -> str:
    """What happened, for people: without the number that the system gives it; the type of an error without a text."""
    text = str(error)
    found = _NUMBER.match(text)
    return (found[1] if found else text) or type(error).__name__
