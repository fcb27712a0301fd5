"""Why a list is empty: what it is about does not exist, or is elsewhere. A deleted resource still has events and
requests, so commands look for these first.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import typer

from arks.local.cli.failure import Failure
from arks.local.cli.given_options import copyable
from arks.local.cli.home import Home
from arks.local.cli.reading import read
from arks.local.cli.targets import select
from arks.local.render.kinds import Kind

Named = Sequence[tuple[Kind, str]]


def fail_if_missing(home: Home, named: Named, namespace: str | None) -> None:
    """Raises Failure for a resource that does not exist. `namespace`: None for all."""
    for failure in _missing(home, named, namespace):
        raise failure


def warn_of_missing(home: Home, named: Named, namespace: str | None) -> None:
    """Before a command follows what may never come."""
    for failure in _missing(home, named, namespace):
        typer.echo(copyable(f"arks: {failure}; waiting for it\n      {failure.next_step}"), err=True)


def print_nothing(what: str, since: datetime, namespace: str | None) -> None:
    """That a list is empty, and where else there may be some."""
    where = "" if namespace is None else f" in namespace {namespace} (-A: in all)"
    typer.echo(f"No {what} since {since:%Y-%m-%d %H:%M} UTC{where}.", err=True)


def _missing(home: Home, named: Named, namespace: str | None) -> Iterator[Failure]:
    if not named:
        return
    try:
        existing = read(home, [kind for kind, _ in named])
    except Failure:  # the right to read events need not include that to read resources
        return
    for kind, name in named:
        try:
            select(kind, existing[kind], [name], namespace)
        except Failure as failure:
            yield failure
