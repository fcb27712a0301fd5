"""Random secrets, each in its own file with mode 0600, created once and then kept."""

import os
import secrets
from pathlib import Path

from arks.local.files.paths import Paths

KEY_PREFIX = "sk-"


def new_key() -> str:
    """An API key of 256 random bits, with OpenAI's prefix."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def read_or_create(path: Path, value: str) -> str:
    """Return the secret in the file; write `value` first if there is none. Safe if two processes try at once."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        path.chmod(0o600)
        if existing := path.read_text().strip():
            return existing
        descriptor = os.open(path, os.O_WRONLY)  # empty after a full disk or a crash
    with os.fdopen(descriptor, "w") as file:
        file.write(value)
        file.flush()
        os.fsync(file.fileno())
    return value


def create_all(paths: Paths) -> None:
    """Create the secrets that the processes of Arks share. Raises OSError."""
    for path in (paths.nats_token, paths.valkey_password, paths.pepper, paths.operator_token):
        read_or_create(path, secrets.token_hex(32))


def demo_key(paths: Paths) -> str:
    """The API key of the demo's ArksToken. Raises OSError."""
    return read_or_create(paths.demo_key, new_key())
