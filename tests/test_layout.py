"""The layout rule of `docs/architecture.md`, where import-linter cannot check it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVICES = sorted(path.name for path in (ROOT / "services").iterdir())
ROOMS = {
    "__init__.py",
    "main.py",
    "config.py",
    "domain",
    "service",
    "adapters",
    "api",
    "programs",
    "testing",
    "py.typed",
}
HOMES = {"local", "kubernetes"}


def _package(service: str) -> Path:
    return ROOT / "services" / service / "src/arks" / service.replace("-", "_")


def _entries(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if path.name != "__pycache__"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_no_module_outside_of_the_rooms(service: str) -> None:
    assert _entries(_package(service)) <= ROOMS


@pytest.mark.parametrize("service", SERVICES)
def test_what_differs_between_the_homes_is_wired_in_one_file_each(service: str) -> None:
    adapters = _package(service) / "adapters"
    homes = {name for name in HOMES if (adapters / name).is_dir()}
    assert homes in (set(), HOMES)
    assert all((adapters / home / "wiring.py").is_file() for home in homes)


def _reads_environment(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}:
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Settings"):
            return True
    return False


@pytest.mark.parametrize("service", SERVICES)
def test_only_main_and_programs_read_configuration_from_the_environment(service: str) -> None:
    package = _package(service)
    reading = {path.relative_to(package) for path in package.rglob("*.py") if _reads_environment(path)}
    assert {path for path in reading if path.parts[0] not in {"main.py", "programs", "testing"}} == set()
