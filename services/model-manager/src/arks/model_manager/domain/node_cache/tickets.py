"""Tickets: short-lived proof that a request may read the models of a namespace. Pure; standard library only.

A ticket is `<expiry in Unix seconds>.<HMAC-SHA256 of the expiry>`. Keys are derived from the key of the installation,
so that a program that has the key of a namespace can neither make nor check tickets of another.
"""

import hmac

LIFE_SECONDS = 120
"""A ticket that is read on the network is of use for so long. Only the begin of a request is checked."""
RENEW_SECONDS = 60
"""A ticket is replaced when it is valid for less than this."""


def namespace_key(installation_key: str, namespace: str) -> str:
    """The key for the models of one namespace."""
    return _mac(installation_key, f"namespace/{namespace}")


def control_key(installation_key: str) -> str:
    """The key for commands to agents."""
    return _mac(installation_key, "control")


def ticket(key: str, now: float) -> str:
    """`now`: Unix seconds."""
    expiry = str(int(now) + LIFE_SECONDS)
    return f"{expiry}.{_mac(key, expiry)}"


def is_valid(key: str, given: str, now: float) -> bool:
    """Whether `given` is a ticket of this key that has not expired."""
    expiry, _, mac = given.partition(".")
    if not (expiry.isascii() and expiry.isdigit() and len(expiry) <= 12):
        return False
    fresh = now < int(expiry) <= now + 2 * LIFE_SECONDS  # clocks of nodes differ a little
    return hmac.compare_digest(_mac(key, expiry).encode(), mac.encode(errors="replace")) and fresh


class Tickets:
    """The current ticket of one key: the same for a while, so that connections are kept."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._ticket = ""
        self._renew_at = 0.0

    def current(self, now: float) -> str:
        if now >= self._renew_at:
            self._ticket = ticket(self._key, now)
            self._renew_at = int(now) + LIFE_SECONDS - RENEW_SECONDS
        return self._ticket


def _mac(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), "sha256").hexdigest()
