"""The key of a resource or a fact in caches, queues and messages."""

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from arks.contracts.resources import Resource


class Key(Struct, frozen=True, order=True, cache_hash=True, gc=False):
    """Namespace and name of one thing."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def key_of(resource: "Resource") -> Key:
    return Key(resource.metadata.namespace, resource.metadata.name)
