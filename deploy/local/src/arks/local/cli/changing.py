"""Change the spec of a resource that exists, as it was read from the store."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from arks.local.cli.connection import connected
from arks.local.cli.home import Home
from arks.local.cli.invalid import fail_invalid
from arks.local.cli.targets import not_found, resource_type
from arks.local.render.kinds import Kind

if TYPE_CHECKING:
    from arks.kit.resources import Applied

Change = Callable[[dict[str, Any]], None]
"""Changes a spec in place."""


async def change_spec(home: Home, kind: Kind, namespace: str, name: str, change: Change) -> "Applied":
    """Apply the resource with a changed spec. Raises Failure if it does not exist or the result is invalid."""
    from pydantic import ValidationError

    from arks.kit.key import Key

    resource = resource_type(kind)
    async with connected(home) as store:
        found = await store.read(resource, Key(namespace, name))
        if found is None:
            raise not_found(kind, name, namespace, await store.list(resource))
        change(found["spec"])
        found.pop("status", None)
        try:
            return await store.apply(resource.from_dict(found))
        except ValidationError as error:
            fail_invalid(error, resource, "nothing was changed")
