"""`arks scale`: set the number of replicas."""

import asyncio
from typing import Annotated, Any

import typer

from arks.local.cli.changing import change_spec
from arks.local.cli.failure import Exit, fail
from arks.local.cli.options import NO_HOME, NO_NAMESPACE, LocalHomeOption, NamespaceOption, TargetsArgument
from arks.local.cli.output import print_text
from arks.local.cli.targets import targets
from arks.local.cli.waiting import Awaited, wait_ready
from arks.local.render.kinds import APPLICATION


def scale(
    resources: TargetsArgument,
    replicas: Annotated[int | None, typer.Option("--replicas", min=0, help="Number of replicas.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until a replica is ready.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait.")] = 300.0,
    namespace: NamespaceOption = NO_NAMESPACE,
    home: LocalHomeOption = NO_HOME,
) -> None:
    """Set the number of replicas of an application; 0 stops its engines.

    \b
    arks scale app smollm2 2
    arks scale app/smollm2 --replicas 0
    """
    arguments = list(resources)
    if replicas is None and len(arguments) > 1 and arguments[-1].isdigit():
        replicas = int(arguments.pop())
    if replicas is None:
        fail("no number of replicas given", "as in `arks scale app smollm2 2`", Exit.USAGE)
    chosen = targets(arguments, named=True)
    if any(target.kind is not APPLICATION for target in chosen):
        fail("only applications have replicas", "as in `arks scale app smollm2 2`", Exit.USAGE)
    count = replicas

    def change(spec: dict[str, Any]) -> None:
        spec["replicas"] = count

    names = [name for target in chosen for name in target.names]
    for name in names:
        applied = asyncio.run(change_spec(home, APPLICATION, namespace, name, change))
        print_text(f"arksapplication/{name} {'scaled' if applied == 'configured' else applied}")
    if wait and replicas:
        wait_ready(home, [Awaited(APPLICATION, namespace, name) for name in names], timeout)
