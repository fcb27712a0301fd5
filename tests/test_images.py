"""The directories of packages and of source code in the images."""

import importlib.metadata
import os
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[1]
IMAGES = CHECKOUT / "deploy/images"


def lay_out(directory: Path, *distributions: str) -> Path:
    """The installed modules of these distributions in a directory of their own, as links."""
    for name in distributions:
        for file in importlib.metadata.files(name) or []:
            if file.suffix == ".py" and ".." not in file.parts:
                path = directory / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(str(file.locate()))
    return directory


def test_no_package_of_a_service_hides_one_that_all_services_share(tmp_path: Path) -> None:
    own = lay_out(tmp_path / "own", "xds-protos")
    common = lay_out(tmp_path / "common", "opentelemetry-api", "opentelemetry-proto")
    runpy.run_path(str(IMAGES / "context.py"))["uncover"](own, common)
    program = "import opentelemetry.trace, opentelemetry.proto.trace.v1.trace_pb2"
    path = os.pathsep.join([str(own), str(common), *sys.path])
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "" == done.stderr


def imported_by(modules: str) -> list[Path]:
    """Files of Arks that a process has read once it has imported these modules."""
    program = f"""
import sys
import {modules}
print(*(found.__file__ for name, found in sys.modules.items()
        if name.partition(".")[0] in ("arks", "openai_api_server") and found.__file__))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return [Path(path) for path in done.stdout.split()]


@pytest.fixture(scope="module")
def build() -> Iterator[dict[str, Any]]:
    """Names of build.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(IMAGES))
        yield runpy.run_path(str(IMAGES / "build.py"))


def test_the_engine_image_has_every_module_that_its_program_imports(build: dict[str, Any]) -> None:
    imported = imported_by("arks.app_deployer.programs.llamacpp")
    sources = [CHECKOUT / source for source in build["ENGINE_SOURCES"]]
    assert [] == [path for path in imported if not any(path.is_relative_to(source) for source in sources)]
    assert imported


def test_endpoint_router_s_image_has_the_gateway_s_filter(build: dict[str, Any], tmp_path: Path) -> None:
    package = build["checked_library"](CHECKOUT / build["ROUTER_LIBRARIES"][0]).parent
    build["copy_source"](tmp_path / "tree", package)
    (copied,) = (tmp_path / "tree").rglob("libarks.so")
    assert ("arks", "gateway_filter") == copied.relative_to(tmp_path / "tree").parent.parts
    modules = imported_by("arks.gateway_filter.__main__")
    assert modules
    assert [] == [path for path in modules if not path.is_relative_to(package)]


@pytest.mark.parametrize(
    ("library", "problem"),
    [(None, "make sync"), (b"\0GLIBC_2.2.5\0GLIBC_2.39\0", r"needs glibc 2\.39, images have 2\.36")],
)
def test_no_image_is_built_without_a_library_that_runs_in_it(
    library: bytes | None, problem: str, build: dict[str, Any], tmp_path: Path
) -> None:
    if library:
        (tmp_path / "libarks.so").write_bytes(library)
    with pytest.raises(SystemExit, match=problem):
        build["checked_library"](tmp_path / "libarks.so")


@pytest.mark.parametrize("image", ["openai-proxy", "ark-engine"])
def test_the_images_of_ark_have_every_module_that_their_programs_import(image: str, build: dict[str, Any]) -> None:
    imported = imported_by(build["ARK_IMPORTS"][image]["IMPORTS"])
    sources = [CHECKOUT / source for source in (*build["ARK_LIBRARIES"], *build["ARK_SOURCES"][image])]
    assert [] == [path for path in imported if not any(path.is_relative_to(source) for source in sources)]
    assert imported


def test_the_compose_file_s_dockerfile_copies_every_package_that_it_installs() -> None:
    text = (CHECKOUT / "deploy/ark/Dockerfile").read_text()
    copied = [word for line in text.splitlines() if line.startswith("COPY ") for word in line.split()[1:-1]]
    missing = [path for path in copied if not path.startswith(("--", "/")) and not (CHECKOUT / path).exists()]
    assert [] == missing
    workspace = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]
    members = [path.parent for member in workspace for path in CHECKOUT.glob(f"{member}/pyproject.toml")]
    covered = [CHECKOUT / path for path in copied]
    assert [] == [member for member in members if not any(member.is_relative_to(path) for path in covered)]
    ignored = (CHECKOUT / "deploy/ark/Dockerfile.dockerignore").read_text().splitlines()
    assert not {"libs", "services", "deploy", "uv.lock", "LICENSE"} & set(ignored)


@pytest.mark.parametrize(
    ("program", "commands"),
    [
        (
            "docker",
            ["tag arks/metrics:x r.example.com/a/metrics:x", "push --quiet r.example.com/a/metrics:x"],
        ),
        ("buildah", ["push --quiet arks/metrics:x docker://r.example.com/a/metrics:x"]),
    ],
)
def test_a_pushed_image_has_the_name_that_the_chart_expects(
    program: str, commands: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = tmp_path / "called"
    (tmp_path / program).write_text(f'#!/bin/sh\necho "$@" >> {called}\n')
    (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(IMAGES))
    engines = runpy.run_path(str(IMAGES / "engines.py"))
    image = engines["Image"]("metrics", "service", "", "")
    assert "r.example.com/a/metrics:x" == engines["Builder"](program).push(image, "x", "r.example.com/a")
    assert commands == called.read_text().splitlines()


def test_images_are_pushed_to_a_named_registry_only(build: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in ("", "arks", "arks/prod", "registry.example.com", "registry.example.com/"):
        monkeypatch.setattr(sys, "argv", ["build.py", "--push", registry])
        with pytest.raises(SystemExit):
            build["arguments"]()
    monkeypatch.setattr(sys, "argv", ["build.py", "--push", "localhost:5000/arks"])
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    assert version == build["arguments"]().tag


def test_an_image_that_exists_under_another_tag_is_tagged_and_not_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = tmp_path / "called"
    script = f'#!/bin/sh\ncase "$1" in images) echo id;; *) echo "$@" >> {called};; esac\n'
    (tmp_path / "buildah").write_text(script)
    (tmp_path / "buildah").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(IMAGES))
    engines = runpy.run_path(str(IMAGES / "engines.py"))
    builder, image = engines["Builder"]("buildah"), engines["Image"]("metrics", "service", "inputs", "")
    monkeypatch.setitem(engines["Builder"].build.__globals__, "CACHE", tmp_path)
    assert builder.build(image, "dev")
    called.unlink()
    assert not builder.build(image, "1.0")
    assert ["tag arks/metrics:dev arks/metrics:1.0"] == called.read_text().splitlines()
    (tmp_path / "buildah").write_text(script.replace("echo id", "echo other"))
    assert builder.build(image, "2.0")  # the image of that name is not the one that was built


def test_a_push_that_fails_names_the_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "buildah").write_text("#!/bin/sh\nexit 125\n")
    (tmp_path / "buildah").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(IMAGES))
    engines = runpy.run_path(str(IMAGES / "engines.py"))
    with pytest.raises(SystemExit, match=r"log in with `buildah login r\.example\.com`"):
        engines["Builder"]("buildah").push(engines["Image"]("metrics", "service", "", ""), "1", "r.example.com/a")
