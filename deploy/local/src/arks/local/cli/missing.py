"""Why a list about a resource is empty: it does not exist. A deleted resource still has events and requests, so
commands look for these first.
"""

from collections.abc import Iterator, Sequence

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
