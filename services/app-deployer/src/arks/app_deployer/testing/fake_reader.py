"""Engines that answer what a test has set, as HttpProbe reads it."""

from arks.kit.errors import Unavailable


class FakeReader:
    def __init__(self) -> None:
        self.unsupported_by: dict[int, frozenset[str]] = {}
        """By port; other engines keep everything."""
        self.faults = 0
        """Queries that remain without an answer."""
        self.queried: list[tuple[str, int, str]] = []

    async def unsupported(self, port: int, model: str, host: str) -> frozenset[str]:
        self.queried.append((host, port, model))
        if self.faults:
            self.faults -= 1
            raise Unavailable("it does not answer")
        return self.unsupported_by.get(port, frozenset())
