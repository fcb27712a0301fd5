"""Build hook of the packages with a crate in Rust: compiles its library with cargo and puts it into the package.

    [tool.hatch.build.targets.wheel.hooks.custom]
    path = "../../tools/hatch_cargo.py"
    library = "libarks.so"                        # as cargo names it
    target = "src/arks/gateway_filter/libarks.so"
    features = []                                 # of the crate
    interpreter = "py3-none"                      # Python and ABI in the wheel's tag

Where the machine has no cargo, or an old one, the build also requires puccinialin (as maturin does), which installs
Rust with rustup into the user's cache.
"""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OLDEST = (1, 88)
"""Rust's version, as the `rust-version` of each Cargo.toml: the first one with chains of `let`."""
NEXT_STEP = (
    f"install Rust {OLDEST[0]}.{OLDEST[1]} or newer (https://rustup.rs) and a C linker (the package gcc), "
    "then run the command again"
)


class NotBuilt(Exception):
    """The library cannot be built; the message has the next step."""


def cargo_version() -> tuple[int, ...]:
    """Return cargo's version; () without a cargo that works."""
    try:
        done = subprocess.run(["cargo", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ()
    return tuple(int(number) for number in re.findall(r"\d+", done.stdout)[:2])


def requirements() -> list[str]:
    """Return what a build needs besides hatchling."""
    return [] if cargo_version() >= OLDEST else ["puccinialin>=0.1.14,<0.2"]


def environment() -> dict[str, str]:
    """Return the environment for cargo, after installing Rust where it is missing. Raises NotBuilt."""
    # A module with the stable ABI needs no interpreter to compile, and that of a build has another path each time.
    plain = {**os.environ, "PYO3_NO_PYTHON": "1"}
    if cargo_version() >= OLDEST:
        return plain
    try:
        from puccinialin import setup_rust  # noqa: PLC0415 - only there if `requirements` named it

        return {**plain, **setup_rust()}
    except Exception as error:  # its errors are those of its HTTP client, of rustup and of the file system
        raise NotBuilt(f"Rust is missing and cannot be installed ({error}): {NEXT_STEP}") from error


def compile_library(root: Path, library: str, features: Sequence[str] = ()) -> Path:
    """Compile the crate at `root`; return the library. Raises NotBuilt."""
    target = root / "target"
    options = ("--release", "--locked", "--quiet", "--manifest-path", str(root / "Cargo.toml"))
    command = ["cargo", "build", *options, "--target-dir", str(target), "--features", ",".join(features)]
    if done := subprocess.run(command, env=environment(), check=False).returncode:
        raise NotBuilt(f"cargo ended with {done}; its message is above. If a tool is missing, {NEXT_STEP}")
    return target / "release" / library


def replace(source: Path, target: Path) -> None:
    """Copy a file. A running Envoy keeps the old one: it has mapped it, so the file must not be written in place."""
    part = target.with_name(f"{target.name}.part")
    shutil.copy(source, part)
    part.replace(target)


def platform_tag(library: Path) -> str:
    """Return the end of the wheel's tag: the oldest glibc that has all symbols which the library names, the machine."""
    needed = (int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", library.read_bytes()))
    return f"manylinux_2_{max(needed)}_{platform.machine()}"


class CargoBuildHook(BuildHookInterface):  # type: ignore[type-arg] # hatchling's own configuration is not used
    """Called by hatchling for a wheel and for an editable installation."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return requirements()

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        library = compile_library(root, self.config["library"], self.config.get("features", ()))
        replace(library, root / self.config["target"])
        build_data.update(pure_python=False, tag=f"{self.config['interpreter']}-{platform_tag(library)}")
