"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arks.local.cli.home import ClusterHome, Home, namespace_of_context
from arks.local.cli.names import complete_endpoints, complete_targets, complete_tokens
from arks.local.files.paths import DEFAULT_HOME


class Output(StrEnum):
    JSON = "json"
    YAML = "yaml"


NO_HOME = Path()
"""Default of a HomeOption; its callback replaces it."""
NO_NAMESPACE = ""
"""Default of a NamespaceOption; its callback replaces it."""


def _home(context: typer.Context, value: Path) -> Home:
    """The command's own --home, else what the options before the command name, else the default."""
    root = context.find_root().params
    if (cluster := root.get("context")) and value == NO_HOME:
        namespace = None if context.params.get("all_namespaces") else context.params.get("namespace")
        return ClusterHome(cluster, root["arks_namespace"], namespace)
    return Path((value if value != NO_HOME else root.get("home")) or DEFAULT_HOME)


def _namespace(context: typer.Context, value: str) -> str:
    """On a cluster the default is the namespace of the kubeconfig's context."""
    cluster = context.find_root().params.get("context")
    return namespace_of_context(cluster) if cluster and not value else value or _DEFAULT_NAMESPACE


_DEFAULT_NAMESPACE = "default"
_HOME_HELP = "Directory of this Arks; default ~/.arks."
_CONTEXT_HELP = "Use Arks on this cluster of your kubeconfig; - is the current one."
_RELEASE_HELP = "Where Arks runs on the cluster."
RootHomeOption = Annotated[Path | None, typer.Option("--home", envvar="ARKS_HOME", help=_HOME_HELP, show_envvar=True)]
RootContextOption = Annotated[str | None, typer.Option("--context", help=_CONTEXT_HELP, metavar="NAME")]
RootReleaseOption = Annotated[str, typer.Option("--arks-namespace", help=_RELEASE_HELP, metavar="NAME")]
_HOME = typer.Option("--home", callback=_home, help=_HOME_HELP, show_default=False)
LocalHomeOption = Annotated[Path, _HOME]
"""Of commands that work on one machine only."""
if TYPE_CHECKING:
    HomeOption = Annotated[Home, _HOME]
else:  # typer reads the annotation and knows no unions
    HomeOption = LocalHomeOption

_NAMESPACE_HELP = "Namespace; default: default, on a cluster the context's."
NamespaceOption = Annotated[
    str, typer.Option("--namespace", "-n", callback=_namespace, help=_NAMESPACE_HELP, show_default=False)
]
AllNamespacesOption = Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")]
OutputOption = Annotated[
    Output | None, typer.Option("--output", "-o", help="Output format: json or yaml.", show_default=False)
]
FilesOption = Annotated[
    list[str] | None,
    typer.Option("--filename", "-f", metavar="FILE|DIR|-", help="Manifests: a file, all in a directory, or stdin."),
]


_TARGETS_HELP = "KIND[,KIND], KIND NAME..., KIND/NAME..., or all."
TargetsArgument = Annotated[
    list[str], typer.Argument(metavar="KIND [NAME]...", help=_TARGETS_HELP, autocompletion=complete_targets)
]
EndpointArgument = Annotated[
    str, typer.Argument(metavar="ENDPOINT", help="Name of an ArksEndpoint.", autocompletion=complete_endpoints)
]
TokenArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the token.", autocompletion=complete_tokens)
]
SelectorOption = Annotated[
    str | None, typer.Option("--selector", "-l", help="Only with these labels, as in team=red,tier!=free.")
]
