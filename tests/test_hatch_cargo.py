import importlib.util
import os
import platform
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from arks.endpoint_router.domain import native
from arks.gateway_filter import library_directory

ROOT = Path(__file__).parents[1]
LIBRARIES = {
    "libs/gateway-filter": library_directory() / "libarks.so",
    "services/endpoint-router": Path(native.__file__ or ""),
}
"""Crate -> its compiled library."""


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_cargo", ROOT / "tools/hatch_cargo.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hook = _load()


@pytest.fixture
def cargo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that the test writes, the only one on the PATH besides the shell's."""
    monkeypatch.setenv("PATH", f"{tmp_path}")
    return tmp_path / "cargo"


def _write(cargo: Path, script: str) -> None:
    cargo.write_text(f"#!/bin/sh\n{script}\n")
    cargo.chmod(0o755)


def _installer(monkeypatch: pytest.MonkeyPatch, outcome: dict[str, str] | Exception) -> None:
    def setup_rust() -> dict[str, str]:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setitem(sys.modules, "puccinialin", SimpleNamespace(setup_rust=setup_rust))


@pytest.mark.parametrize("version", ["cargo 1.88.0 (873a06493 2025-05-10)", "cargo 1.95.0 (f2d3ce0bd)", "cargo 2.0.0"])
def test_a_build_needs_nothing_else_where_cargo_is_new_enough(cargo: Path, version: str) -> None:
    _write(cargo, f"echo '{version}'")
    assert [] == hook.requirements()
    assert {**os.environ, "PYO3_NO_PYTHON": "1"} == hook.environment()


@pytest.mark.parametrize("script", [None, "echo 'cargo 1.63.0'", "echo 'no default toolchain' >&2; exit 1"])
def test_a_build_requires_the_installer_of_rust_where_cargo_is_missing_old_or_broken(
    cargo: Path, script: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script:
        _write(cargo, script)
    _installer(monkeypatch, {"PATH": "/installed/bin"})
    (requirement,) = hook.requirements()
    assert requirement.startswith("puccinialin")
    assert "/installed/bin" == hook.environment()["PATH"]


def test_a_build_without_rust_and_without_network_names_the_next_step(
    cargo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _installer(monkeypatch, OSError("no network"))
    with pytest.raises(hook.NotBuilt, match=r"no network.*install Rust 1\.88 or newer.*gcc"):
        hook.environment()


def test_a_failure_of_cargo_fails_the_build(cargo: Path, tmp_path: Path) -> None:
    _write(cargo, 'if [ "$1" = --version ]; then echo cargo 1.95.0; else exit 101; fi')
    with pytest.raises(hook.NotBuilt, match="cargo ended with 101"):
        hook.compile_library(tmp_path, "libarks.so")


def test_a_replaced_library_is_a_new_file_so_that_a_running_envoy_keeps_the_old_one(tmp_path: Path) -> None:
    source, target = tmp_path / "new.so", tmp_path / "libarks.so"
    source.write_bytes(b"new")
    target.write_bytes(b"old")
    with target.open("rb") as mapped:
        hook.replace(source, target)
        assert (b"old", b"new") == (mapped.read(), target.read_bytes())
    assert {source, target} == set(tmp_path.iterdir())


def test_the_tag_of_a_wheel_names_the_newest_symbols_of_glibc(tmp_path: Path) -> None:
    library = tmp_path / "libarks.so"
    library.write_bytes(b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0")
    assert f"manylinux_2_34_{platform.machine()}" == hook.platform_tag(library)


@pytest.mark.parametrize("crate", LIBRARIES)
def test_libraries_run_in_the_chart_s_envoy_and_image_base_which_have_glibc_2_36(crate: str) -> None:
    minor = int(hook.platform_tag(LIBRARIES[crate]).split("_")[2])
    assert minor <= 36


def test_the_filter_needs_no_other_than_glibc_which_is_all_that_envoy_s_distroless_image_has() -> None:
    library = LIBRARIES["libs/gateway-filter"].read_bytes()
    needed = re.findall(rb"\0(lib[\w.+-]+\.so[\w.]*|ld-linux[\w.-]*)(?=\0)", library)
    assert {b"libc.so.6"} == {name for name in needed if not name.startswith(b"ld-linux")}


@pytest.mark.parametrize("crate", LIBRARIES)
def test_the_oldest_rust_is_that_of_cargo_toml(crate: str) -> None:
    expected = ".".join(map(str, hook.OLDEST))
    assert f'rust-version = "{expected}"' in (ROOT / crate / "Cargo.toml").read_text()
