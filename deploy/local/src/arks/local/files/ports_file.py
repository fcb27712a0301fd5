"""run/ports.json: the ports of this home, so that its next start has the same."""

import json
from collections.abc import Mapping
from pathlib import Path

from arks.local.files import state
from arks.local.files.paths import Paths


def read_ports(paths: Paths) -> dict[str, int]:
    """Of its last start; none when it never was started."""
    try:
        found = json.loads(_file(paths).read_text())
        return {str(name): int(port) for name, port in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def write_ports(paths: Paths, ports: Mapping[str, int]) -> None:
    """Raises OSError."""
    state.write(_file(paths), json.dumps(dict(ports), indent=2) + "\n")


def _file(paths: Paths) -> Path:
    return paths.run / "ports.json"
