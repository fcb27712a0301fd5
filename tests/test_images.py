"""The directories of packages in the images of the services."""

import importlib.metadata
import os
import runpy
import subprocess
import sys
from pathlib import Path

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


def test_the_engine_image_has_every_module_that_its_program_imports() -> None:
    program = """
import sys
import arks.app_deployer.programs.llamacpp
print(*(found.__file__ for name, found in sys.modules.items() if name.startswith("arks.") and found.__file__))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    text = (IMAGES / "build.py").read_text()
    listed = text.partition("ENGINE_SOURCES = (")[2].partition(")")[0]
    sources = [CHECKOUT / line.strip(' ",') for line in listed.split("\n") if line.strip()]
    imported = [Path(path) for path in done.stdout.split()]
    assert [] == [path for path in imported if not any(path.is_relative_to(source) for source in sources)]
    assert imported
