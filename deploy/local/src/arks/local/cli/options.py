"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from arks.local.files.paths import DEFAULT_HOME


class Output(StrEnum):
    JSON = "json"
    YAML = "yaml"


NO_HOME = Path()
"""Default of a HomeOption; its callback replaces it."""


def _home(context: typer.Context, value: Path) -> Path:
    """The command's own --home, else the one before the command, else the default."""
    given = value if value != NO_HOME else context.find_root().params.get("home")
    return Path(given or DEFAULT_HOME)


_HOME_HELP = "Directory of this Arks; default ~/.arks."
RootHomeOption = Annotated[Path | None, typer.Option("--home", envvar="ARKS_HOME", help=_HOME_HELP, show_envvar=True)]
HomeOption = Annotated[Path, typer.Option("--home", callback=_home, help=_HOME_HELP, show_default=False)]

NamespaceOption = Annotated[str, typer.Option("--namespace", "-n", help="Namespace.")]
AllNamespacesOption = Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")]
OutputOption = Annotated[
    Output | None, typer.Option("--output", "-o", help="Output format: json or yaml.", show_default=False)
]
FilesOption = Annotated[
    list[str] | None,
    typer.Option("--filename", "-f", metavar="FILE|DIR|-", help="Manifests: a file, all in a directory, or stdin."),
]
