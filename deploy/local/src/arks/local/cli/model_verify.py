"""`arks model verify`: hash the files of models again."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arks.contracts.quantities import human_bytes
from arks.local.cli import model_programs
from arks.local.cli.failure import Exit, fail
from arks.local.cli.model_programs import CheckedFile
from arks.local.cli.output import print_text
from arks.local.cli.progress import Progress, progress
from arks.local.cli.reading import read
from arks.local.cli.waiting import Awaited
from arks.local.render.health import is_ready
from arks.local.render.kinds import MODEL

_POLL_SECONDS = 0.5
Resource = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """What was found of one model."""

    model: Resource
    files: tuple[CheckedFile, ...]

    @property
    def broken(self) -> list[CheckedFile]:
        return [file for file in self.files if file.fault]

    @property
    def downloads(self) -> bool:
        """Whether its source has the files: what is only here must not be deleted."""
        source = self.model["spec"].get("source") or {}
        return bool(source) and "file" not in source

    def __str__(self) -> str:
        size = human_bytes(sum(file.size_bytes for file in self.files))
        unknown = [file.path for file in self.files if not file.recorded]
        note = f"; no digest is known of {', '.join(unknown)}: set source.file.sha256" if unknown else ""
        damaged = f"{len(self.broken)} of {len(self.files)} files damaged" if self.broken else "as recorded"
        return f"{self.model['metadata']['name']}: {_counted(self.files)}, {size}, {damaged}{note}"


def verify(home: Path, models: Sequence[Resource], *, repair: bool, timeout: float) -> None:
    """Print what differs. `repair`: fetch it again, and wait for it. Raises Failure if something stays damaged."""
    with progress(time.monotonic()) as steps:
        results = [_check(model, repair=repair, steps=steps) for model in models]
    for result in results:
        print_text(str(result))
        for file in result.broken:
            print_text(f"  {file.path}: {file.fault}")
    broken = [result for result in results if result.broken]
    if repair:
        for result in broken:
            if result.downloads:
                _wait(home, result, timeout)
        broken = [result for result in broken if not result.downloads]
    if broken:
        _fail(broken[0], repaired=repair)


def _check(model: Resource, *, repair: bool, steps: Progress) -> Result:
    name, status = model["metadata"]["name"], model.get("status") or {}
    source = model["spec"].get("source") or {}
    total, done, files = status.get("sizeBytes") or 0, 0, []
    repairs = repair and Result(model, ()).downloads
    for file in model_programs.verify(status["path"], sha256=(source.get("file") or {}).get("sha256"), repair=repairs):
        files.append(file)
        done += file.size_bytes
        steps.step(name, f"{human_bytes(done)} of {human_bytes(total)}", ratio=done / total if total else None)
    steps.step(name, f"{_counted(files)} hashed", done=True)
    return Result(model, tuple(files))


def _wait(home: Path, result: Result, timeout: float) -> None:
    """Until all damaged files are there again. Raises Failure."""
    metadata, began = result.model["metadata"], time.monotonic()
    awaited = Awaited(MODEL, metadata["namespace"], metadata["name"])
    while True:
        model = awaited.of(read(home, [MODEL]))
        if model is None:
            fail(f"{awaited} was deleted meanwhile")
        if is_ready(model) and all(Path(file.file).exists() for file in result.broken):
            print_text(f"{metadata['name']}: {len(result.broken)} files fetched again")
            return
        if time.monotonic() - began >= timeout:
            fail(f"{awaited} is not whole after {timeout:g} s", f"see `arks describe {awaited}`", Exit.TIMED_OUT)
        time.sleep(_POLL_SECONDS)


def _fail(result: Result, *, repaired: bool) -> None:
    name = result.model["metadata"]["name"]
    if result.downloads and not repaired:
        fail(f"files of model {name} are damaged", f"`arks model verify {name} --repair` fetches them again")
    fail(f"files of model {name} are damaged, and no source has them", "replace them by a good copy")


def _counted(files: Sequence[object]) -> str:
    return f"{len(files)} file{'' if len(files) == 1 else 's'}"
