"""What all commands share: options, errors that say the next step, and the connection to a running Arks."""

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from arks.local.files.paths import DEFAULT_HOME, Paths
from arks.local.files.state import State, running

if TYPE_CHECKING:
    from arks.contracts.resources import Resource
    from arks.local.client.store import Store

T = TypeVar("T")


class Exit(IntEnum):
    """Exit codes of the arks command; `arks --help` lists them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    TIMED_OUT = 4


class Failure(Exception):
    """Ends the command: what is wrong, what to do next, and the exit code."""

    def __init__(self, message: str, next_step: str = "", code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.next_step = next_step
        self.code = code


class Output(StrEnum):
    JSON = "json"
    YAML = "yaml"


NO_HOME = Path()
"""Default of a HomeOption; its callback puts the right one in its place."""


def _home(context: typer.Context, value: Path) -> Path:
    """The command's own --home, else the one before the command, else the default."""
    given = value if value != NO_HOME else context.find_root().params.get("home")
    return Path(given or DEFAULT_HOME)


_HOME_HELP = "Directory of this Arks; default ~/.arks."
RootHomeOption = Annotated[Path | None, typer.Option("--home", envvar="ARKS_HOME", help=_HOME_HELP, show_envvar=True)]
HomeOption = Annotated[Path, typer.Option("--home", callback=_home, help=_HOME_HELP, show_default=False)]

NamespaceOption = Annotated[str, typer.Option("--namespace", "-n", help="Namespace.")]
AllNamespacesOption = Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")]
OutputOption = Annotated[Output | None, typer.Option("--output", "-o", help="For programs.", show_default=False)]


def paths_of(home: Path) -> Paths:
    return Paths.of(home)


def running_state(paths: Paths) -> State:
    """Raises Failure when Arks does not run."""
    state = running(paths)
    if state is None:
        raise not_running(paths)
    return state


def not_running(paths: Paths) -> Failure:
    return Failure(f"Arks does not run in {paths.home}", "start it with `arks up`", Exit.NOT_RUNNING)


@asynccontextmanager
async def connected(home: Path) -> "AsyncIterator[Store]":
    """The store of the running Arks. Raises Failure."""
    paths = paths_of(home)
    state = running_state(paths)
    _lean()
    from arks.local.client.store import connect

    quiet()
    async with connect(paths, state.ports["nats"]) as store:
        yield store


def _lean() -> None:
    """Keep libraries from loading optional ones: half a second of each command. What shows rich text has it already."""
    for name in ("aiohttp", "opentelemetry", "pygments", "rich"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # importing it fails as if it were not installed


def quiet() -> None:
    """Libraries log for services; a person gets one sentence instead."""
    import logging

    import structlog

    logging.getLogger().setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def kind_named(name: str) -> "type[Resource]":
    """By plural, singular or short name, with or without `arks` in front: models, app, am. Raises Failure."""
    from arks.contracts.resources import find_kind

    spellings = (name, f"arks{name}", f"ark{name}", f"ark{name.removesuffix('s')}")
    kind = next((kind for spelling in spellings if (kind := find_kind(spelling)) is not None), None)
    if kind is None:
        raise Failure(f"there is no kind {name!r}", f"kinds: {', '.join(_kind_names())}", Exit.USAGE)
    return kind


def _kind_names() -> list[str]:
    from arks.contracts.resources import KINDS

    return [kind.plural.removeprefix("arks") for kind in KINDS.values()]


def fail(message: str, next_step: str = "", code: Exit = Exit.FAILED) -> NoReturn:
    raise Failure(message, next_step, code)


def say(text: str) -> None:
    """Print text as it is; a reader that went away (`| head`) ends us quietly."""
    typer.echo(text, nl=not text.endswith("\n"))
