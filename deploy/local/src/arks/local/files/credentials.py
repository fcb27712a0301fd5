"""Random secrets, each in a file of its own that only its owner may read; made once and then kept."""

import os
import secrets
from pathlib import Path

from arks.local.files.paths import Paths

KEY_PREFIX = "sk-"


def new_key() -> str:
    """An API key of 256 random bits, as OpenAI's look."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def read_or_create(path: Path, value: str) -> str:
    """The secret that the file holds; it gets `value` when there is none yet, also when two processes try at once."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        path.chmod(0o600)
        if held := path.read_text().strip():
            return held
        descriptor = os.open(path, os.O_WRONLY)  # a full disk or a crash left it empty
    with os.fdopen(descriptor, "w") as file:
        file.write(value)
        file.flush()
        os.fsync(file.fileno())
    return value


def create_all(paths: Paths) -> None:
    """The secrets between our own processes. Raises OSError."""
    for path in (paths.nats_token, paths.valkey_password, paths.pepper):
        read_or_create(path, secrets.token_hex(32))


def demo_key(paths: Paths) -> str:
    """The key of the demo's token. Raises OSError."""
    return read_or_create(paths.demo_key, new_key())
