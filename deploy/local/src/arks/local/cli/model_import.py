"""`arks model import`: copy a file into Arks' storage."""

import time
from pathlib import Path

from arks.contracts.quantities import human_bytes
from arks.local.cli import model_programs
from arks.local.cli.connection import running_state
from arks.local.cli.failure import Exit, fail
from arks.local.cli.progress import progress
from arks.local.cli.reading import read
from arks.local.cli.waiting import Awaited
from arks.local.files.paths import Paths
from arks.local.render.kinds import MODEL


def copy(home: Path, file: Path, namespace: str, name: str) -> None:
    """Into the directory of the model, which must not have another source. Raises Failure."""
    if not file.is_file():
        fail(f"{file} does not exist", "name an existing GGUF file", Exit.USAGE)
    running_state(paths := Paths.of(home))
    existing = Awaited(MODEL, namespace, name).of(read(home, [MODEL]))
    if existing is not None and existing["spec"].get("source"):
        fail(f"there is another model {name}, with a source", "give this one another name with --name NAME", Exit.USAGE)
    size = file.stat().st_size
    with progress(time.monotonic()) as steps:
        for position in model_programs.import_file(file, paths.models(namespace, name), f"{namespace}/{name}"):
            steps.step(name, f"{human_bytes(position)} of {human_bytes(size)}", ratio=position / size if size else None)
        steps.step(name, f"copied from {file}", done=True)
