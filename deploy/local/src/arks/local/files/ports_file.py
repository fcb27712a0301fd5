"""run/ports.json: the ports of this Arks, kept so that the next start uses the same."""

import json
from collections.abc import Mapping
from pathlib import Path

from arks.kit.files import write_atomically
from arks.local.files.paths import Paths


def read_ports(paths: Paths) -> dict[str, int]:
    """Port of each name at the last start; empty before the first start."""
    try:
        found = json.loads(_file(paths).read_text())
        return {str(name): int(port) for name, port in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def write_ports(paths: Paths, ports: Mapping[str, int]) -> None:
    """Raises OSError."""
    write_atomically(_file(paths), json.dumps(dict(ports), indent=2) + "\n", mode=0o600)


def _file(paths: Paths) -> Path:
    return paths.run / "ports.json"
