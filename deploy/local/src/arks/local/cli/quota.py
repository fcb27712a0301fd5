"""`arks quota`: what is used and remaining of quotas."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from arks.local.cli.options import NO_HOME, NO_NAMESPACE, AllNamespacesOption, HomeOption, NamespaceOption, OutputOption
from arks.local.cli.output import print_data, print_text, terminal_width
from arks.local.cli.reading import read
from arks.local.cli.targets import select
from arks.local.render.kinds import QUOTA


def quota(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these.")] = None,
    namespace: NamespaceOption = NO_NAMESPACE,
    all_namespaces: AllNamespacesOption = False,
    output: OutputOption = None,
    home: HomeOption = NO_HOME,
) -> None:
    """Show what is used and left of each limit of a quota, and when it is reset. All numbers are tokens.

    \b
    arks quota
    arks quota team -n team-a
    """
    from arks.local.render.quota import as_data, as_text

    where = None if all_namespaces else namespace
    found = select(QUOTA, read(home, [QUOTA])[QUOTA], names or [], where)
    if output is not None:
        print_data({"quotas": as_data(found, datetime.now(UTC))}, output)
    elif found:
        print_text(as_text(found, datetime.now(UTC), namespaces=all_namespaces, width=terminal_width()))
    else:
        typer.echo("No quotas. A quota is an ArksQuota that tokens name: see docs/resources.md.", err=True)
