"""`arks restart`: replace the engines of an application, one after the other."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from arks.local.cli.changing import change_spec
from arks.local.cli.failure import Exit, fail
from arks.local.cli.options import NO_HOME, NO_NAMESPACE, LocalHomeOption, NamespaceOption, TargetsArgument
from arks.local.cli.output import print_text
from arks.local.cli.targets import targets
from arks.local.render.kinds import APPLICATION

_VARIABLE = "ARKS_RESTARTED_AT"
"""In the engines' environment: another value is another spec, so that replicas are replaced like after any change."""


def restart(
    resources: TargetsArgument, namespace: NamespaceOption = NO_NAMESPACE, home: LocalHomeOption = NO_HOME
) -> None:
    """Replace the engines of an application, one after the other. Requests in flight finish first.

    \b
    arks restart app smollm2
    """
    chosen = targets(resources, named=True)
    if any(target.kind is not APPLICATION for target in chosen):
        fail("only applications have engines", "as in `arks restart app smollm2`", Exit.USAGE)
    for name in [name for target in chosen for name in target.names]:
        asyncio.run(change_spec(home, APPLICATION, namespace, name, with_restart_time(datetime.now(UTC))))
        print_text(f"arksapplication/{name} restarted")


def with_restart_time(now: datetime) -> Any:
    def change(spec: dict[str, Any]) -> None:
        instance = spec.setdefault("instanceSpec", {})
        others = [variable for variable in instance.get("env", []) if variable["name"] != _VARIABLE]
        instance["env"] = [*others, {"name": _VARIABLE, "value": now.isoformat(timespec="milliseconds")}]

    return change
