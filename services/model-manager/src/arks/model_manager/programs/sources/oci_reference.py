"""References of OCI artifacts: `registry[:port]/repository[:tag][@digest]`."""

from dataclasses import dataclass

_DOCKER_HUB = {"docker.io", "index.docker.io"}


@dataclass(frozen=True, slots=True)
class Reference:
    registry: str
    """As written, and as credentials name it."""
    repository: str
    version: str
    """Digest, or tag."""

    @property
    def host(self) -> str:
        """Where the registry's API is."""
        return "registry-1.docker.io" if self.registry in _DOCKER_HUB else self.registry

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Expects what the resource's pattern accepts."""
        registry, _, rest = text.partition("/")
        rest, _, digest = rest.partition("@")
        repository, _, tag = rest.partition(":")
        return cls(registry, repository, digest or tag or "latest")
