"""The directories of packages in the images of the services."""

import importlib.metadata
import os
import runpy
import subprocess
import sys
from pathlib import Path

BUILD = Path(__file__).parents[1] / "deploy/images/context.py"


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
    runpy.run_path(str(BUILD))["uncover"](own, common)
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
