"""`arks logs`: the logs of services and engines."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from arks.local.cli.failure import Failure, fail
from arks.local.cli.names import complete_logs
from arks.local.cli.options import NO_HOME, NO_NAMESPACE, LocalHomeOption, NamespaceOption
from arks.local.cli.output import print_text
from arks.local.cli.times import parse_since
from arks.local.files.paths import Paths

_POLL_SECONDS = 0.2
_BLOCK_BYTES = 64 * 1024
_MOST_LINES = 100_000


_NAMES = {"gateway": "envoy", "redis": "valkey"}
"""Other names of services."""


def logs(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A service, an application, a replica, or gateway.", autocompletion=complete_logs
        ),
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="Lines from the end; default 100.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Only newer lines: 90s, 15m, 2h, or a date.")] = None,
    replica: Annotated[str | None, typer.Option("--replica", help="Only this replica of an application.")] = None,
    previous: Annotated[bool, typer.Option("--previous", help="Log of the previous run.")] = False,
    namespace: NamespaceOption = NO_NAMESPACE,
    home: LocalHomeOption = NO_HOME,
) -> None:
    """Print the log of a service or of an application's replicas.

    \b
    arks logs smollm2
    arks logs -f gateway --since 5m
    arks logs smollm2-0 --previous
    """
    start = None if since is None else parse_since(since, datetime.now(UTC)).timestamp()
    files = _files(Paths.of(home), _plain_name(name), namespace, replica, previous)
    _print_tails(files, tail if tail is not None else 100 if start is None else None, start)
    if follow:
        _follow(files)


def _plain_name(name: str) -> str:
    """`app/smollm2` without its kind, and services by their program's name."""
    return _NAMES.get(name, name.rpartition("/")[2])


def _files(paths: Paths, name: str, namespace: str, replica: str | None, previous: bool) -> dict[str, Path]:
    """Service or replica -> its log. Raises Failure if there is none."""
    from arks.local.files.engine_logs import engine_logs

    service = paths.log(name)
    if replica is None and service.parent == paths.logs and service.exists():
        return {name: service.with_name(service.name + ".1") if previous else service}
    found = engine_logs(paths, namespace, name, previous=previous)
    if not found and replica is None and "-" in name:  # a replica's name alone
        application, replica = name.rpartition("-")[0], name
        found = engine_logs(paths, namespace, application, previous=previous)
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


def _print_tails(files: dict[str, Path], count: int | None, start: float | None) -> None:
    """`count`: at most so many lines; `start`: only lines from this time on, in seconds since the epoch."""
    from arks.kit.files import tail
    from arks.local.files.log_times import lines_since

    for name, file in files.items():
        if len(files) > 1:
            print_text(f"==> {name} <==")
        lines = tail(file, count if count is not None and start is None else _MOST_LINES)
        if start is not None:
            lines = lines_since(lines, start, _started_at(file))
        if lines:
            print_text("".join(f"{line}\n" for line in (lines[-count:] if count else lines)))
        else:
            typer.echo(f"the log of {name} is empty" + ("" if start is None else " since then"), err=True)


def _started_at(file: Path) -> float | None:
    """When the engine of this log was started, in seconds since the epoch; None for a service."""
    import json

    try:
        return float(json.loads((file.parent / "state.json").read_text())["started_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
