"""`arks wait`: wait for resources."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from arks.local.cli.options import NO_HOME, NO_NAMESPACE, HomeOption, NamespaceOption, TargetsArgument
from arks.local.cli.output import print_text
from arks.local.cli.reading import read
from arks.local.cli.targets import Target, select, targets
from arks.local.cli.waiting import Awaited, wait_deleted, wait_ready
from arks.local.render.kinds import Kind


class For(StrEnum):
    READY = "ready"
    DELETE = "delete"


def wait(
    resources: TargetsArgument,
    condition: Annotated[For, typer.Option("--for", help="What to wait for.")] = For.READY,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait.")] = 300.0,
    namespace: NamespaceOption = NO_NAMESPACE,
    home: HomeOption = NO_HOME,
) -> None:
    """Wait until resources are ready, or deleted. An application is ready when all replicas run its present spec.

    The wait ends early, with exit code 1, for what failed or cannot go on: not enough memory on this machine, no change
    of a replica until the deadline of the rollout.

    \b
    arks wait app qwen
    arks wait model/qwen app/qwen --timeout 1800
    arks wait app qwen --for delete
    """
    chosen = targets(resources)
    existing = read(home, [target.kind for target in chosen])
    awaited = [
        Awaited(target.kind, namespace, name)
        for target in chosen
        for name in _names(target, existing, namespace, condition)
    ]
    if condition is For.DELETE:
        wait_deleted(home, awaited, timeout)
    else:
        wait_ready(home, awaited, timeout)
    what = "deleted" if condition is For.DELETE else "ready"
    print_text("".join(f"{item.kind.singular}/{item.name} {what}\n" for item in awaited))


def _names(target: Target, existing: dict[Kind, list[dict[str, Any]]], namespace: str, condition: For) -> list[str]:
    """The names to wait for. Raises Failure for a name that does not exist and is meant to get ready."""
    if condition is For.DELETE and target.names:
        return list(target.names)
    return [item["metadata"]["name"] for item in select(target.kind, existing[target.kind], target.names, namespace)]
