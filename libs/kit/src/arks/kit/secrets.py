"""Stores secrets on one machine: a file each, with mode 0600."""

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path

from arks.contracts.subjects import decode, encode
from arks.kit.errors import Invalid
from arks.kit.files import write_atomically
from arks.kit.key import Key


class LocalSecrets:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def read(self, key: Key) -> Mapping[str, bytes] | None:
        """Return the secret's values, or None if it does not exist. Raises Invalid if a value is not base64."""
        try:
            stored = json.loads(self._path(key).read_text())
        except FileNotFoundError:
            return None
        values: dict[str, bytes] = {}
        for name, value in stored.items():
            try:
                values[name] = base64.b64decode(value, validate=True)
            except binascii.Error:
                raise Invalid(f"Secret {key}: data.{name} is not base64") from None
        return values

    async def write(self, key: Key, data: Mapping[str, str]) -> None:
        """`data` as in the manifest: base64 values."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, json.dumps(dict(data)), mode=0o600)

    async def delete(self, key: Key) -> bool:
        try:
            self._path(key).unlink()
        except FileNotFoundError:
            return False
        return True

    async def keys(self) -> list[Key]:
        return sorted(Key(decode(path.parent.name), decode(path.stem)) for path in self._directory.glob("*/*.json"))

    def _path(self, key: Key) -> Path:
        return self._directory / encode(key.namespace) / f"{encode(key.name)}.json"
