"""Errors that a person can act on. Third-party errors become one of these in an adapter, `from error`.

ArksError
├── Invalid       the input is wrong: names the field and the rule
├── NotFound      the thing named does not exist
├── Conflict      another writer changed it first, or it exists already
└── Unavailable   a neighbour (NATS, Redis, engine, disk ...) does not do its part now; trying again may help
"""


class ArksError(Exception):
    """The message names the thing, the place and, where there is one, the next step. It never holds a secret."""


class Invalid(ArksError):
    pass


class NotFound(ArksError):
    pass


class Conflict(ArksError):
    pass


class Unavailable(ArksError):
    pass
