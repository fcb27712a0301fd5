"""The key of a resource or a fact in caches, queues and messages."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arks.contracts.resources import Resource


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Namespace and name of one thing."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def key_of(resource: "Resource") -> Key:
    return Key(resource.metadata.namespace, resource.metadata.name)
