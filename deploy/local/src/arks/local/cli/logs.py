"""`arks logs`: the logs of services and engines."""

import time
from pathlib import Path
from typing import Annotated

import typer

from arks.local.cli.failure import Failure, fail
from arks.local.cli.options import NO_HOME, HomeOption, NamespaceOption
from arks.local.cli.output import print_text
from arks.local.files.paths import Paths

_POLL_SECONDS = 0.2
_BLOCK_BYTES = 64 * 1024


def logs(
    name: Annotated[str, typer.Argument(metavar="APPLICATION|SERVICE", help="As in `arks get apps` or `arks status`.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log.")] = False,
    tail: Annotated[int, typer.Option("--tail", min=0, help="Number of lines from the end.")] = 100,
    replica: Annotated[str | None, typer.Option("--replica", help="Only this replica of an application.")] = None,
    previous: Annotated[bool, typer.Option("--previous", help="Log of the previous run.")] = False,
    namespace: NamespaceOption = "default",
    home: HomeOption = NO_HOME,
) -> None:
    """Print the log of a service or of an application's replicas.

    \b
    arks logs smollm2
    arks logs -f token-quota
    arks logs smollm2 --replica smollm2-0 --previous
    """
    files = _files(Paths.of(home), name, namespace, replica, previous)
    _print_tails(files, tail)
    if follow:
        _follow(files)


def _files(paths: Paths, name: str, namespace: str, replica: str | None, previous: bool) -> dict[str, Path]:
    """Service or replica -> its log. Raises Failure if there is none."""
    from arks.local.files.engine_logs import engine_logs

    service = paths.log(name)
    if replica is None and service.parent == paths.logs and service.exists():
        return {name: service.with_name(service.name + ".1") if previous else service}
    found = engine_logs(paths, namespace, name, previous=previous)
    chosen = found if replica is None else {key: file for key, file in found.items() if key == replica}
    if chosen:
        return chosen
    if replica is not None and found:
        fail(f"{name} has no log of a replica {replica!r}", f"replicas: {', '.join(found)}")
    known = sorted(file.stem for file in paths.logs.glob("*.log"))
    what = "previous log" if previous else "log"
    raise Failure(
        f"there is no {what} of {name!r} in namespace {namespace}",
        f"services: {', '.join(known) or 'none yet'}; applications: see `arks get applications -A`",
    )


def _print_tails(files: dict[str, Path], count: int) -> None:
    from arks.kit.files import tail

    for name, file in files.items():
        if len(files) > 1:
            print_text(f"==> {name} <==")
        print_text("".join(f"{line}\n" for line in tail(file, count)))


def _follow(files: dict[str, Path]) -> None:
    """Print new text without end; a file that was truncated or replaced is read from its start."""
    ends = {name: _size(file) for name, file in files.items()}
    last = next(reversed(files))
    while True:
        for name, file in files.items():
            text, ends[name] = _read_from(file, ends[name])
            if text and len(files) > 1 and name != last:
                print_text(f"==> {name} <==")
            if text:
                last = name
                typer.echo(text, nl=False)
        time.sleep(_POLL_SECONDS)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _read_from(file: Path, offset: int) -> tuple[str, int]:
    """The text behind the offset, at most a block, and the new offset."""
    size = _size(file)
    start = offset if size >= offset else 0
    if size == start:
        return "", start
    with file.open("rb") as opened:
        opened.seek(start)
        block = opened.read(_BLOCK_BYTES)
    return block.decode(errors="replace"), start + len(block)
