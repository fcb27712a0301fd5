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


def complete_targets(context: typer.Context, incomplete: str) -> list[str]:
    """Kinds, then names of the kind that was written. Nothing while Arks does not run."""
    from arks.local.cli.failure import Failure
    from arks.local.cli.reading import read
    from arks.local.render.kinds import find_kind, words

    written = context.params.get("resources") or []
    kind_text, slash, _ = incomplete.partition("/") if "/" in incomplete else (written[0] if written else "", "", "")
    kind = find_kind(kind_text) if kind_text else None
    if kind is None:
        return [word for word in words() if word.startswith(incomplete)]
    try:
        found = read(Path(context.find_root().params.get("home") or DEFAULT_HOME), [kind])[kind]
    except Failure:
        return []
    prefix = f"{kind_text}/" if slash else ""
    names = [f"{prefix}{item['metadata']['name']}" for item in found]
    return [name for name in names if name.startswith(incomplete)]


_TARGETS_HELP = "KIND[,KIND], KIND NAME..., KIND/NAME..., or all."
TargetsArgument = Annotated[
    list[str], typer.Argument(metavar="KIND [NAME]...", help=_TARGETS_HELP, autocompletion=complete_targets)
]
SelectorOption = Annotated[
    str | None, typer.Option("--selector", "-l", help="Only with these labels, as in team=red,tier!=free.")
]
