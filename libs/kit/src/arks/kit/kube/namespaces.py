"""Which namespaces an installation serves: informers ignore the objects of all others."""

from typing import Protocol

from arks.kit.types import Json


class Member(Protocol):
    """An informer, of which objects of served namespaces are kept only."""

    def gather(self, namespace: str) -> None:
        """Keep the newest change of each object of this namespace aside from now on."""

    async def fetch(self, namespace: str) -> list[Json]:
        """All objects of this namespace. Raises ArksError."""

    def is_complete(self, namespace: str) -> bool:
        """Whether no change of this namespace can have been missed since `gather`."""

    def admit(self, namespace: str, objects: list[Json]) -> None:
        """Store the objects of a namespace, and then what was kept aside. Does not wait."""

    def drop(self, namespace: str) -> None:
        """Forget all objects of a namespace, as if they were deleted. Does not wait."""


class Namespaces(Protocol):
    @property
    def changes(self) -> int:
        """How often the served namespaces have changed."""

    def serves(self, namespace: str) -> bool: ...

    def joined_after(self, namespace: str, changes: int) -> bool:
        """Whether the namespace is served, and only since a later change than this number."""

    def add(self, member: Member) -> None: ...

    async def known(self) -> None:
        """Returns once it is known which namespaces are served."""


class EveryNamespace:
    changes = 0

    def serves(self, namespace: str) -> bool:
        return True

    def joined_after(self, namespace: str, changes: int) -> bool:
        return False

    def add(self, member: Member) -> None:
        return

    async def known(self) -> None:
        return
