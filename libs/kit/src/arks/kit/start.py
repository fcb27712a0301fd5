"""Chooses the home of a service."""

from arks.kit.home import Home, LocalHome
from arks.kit.settings import Settings


def home_from_environment(name: str, settings: Settings) -> Home:
    """Return the home on one machine or on Kubernetes, by `settings.platform`. `name`: the service."""
    if settings.platform == "kubernetes":
        from arks.kit.kube.home import KubeHome  # noqa: PLC0415  # 70 MB that one machine does not pay for

        return KubeHome(name, settings)
    return LocalHome(name, settings)
