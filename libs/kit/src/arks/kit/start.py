"""Chooses the home of a service."""

from arks.kit.home import Home, LocalHome
from arks.kit.settings import Settings


def home_from_environment(name: str, settings: Settings, *, leads: bool = True) -> Home:
    """Return the home on one machine or on Kubernetes, by `settings.platform`. `name`: the service. `leads`: False for
    a program that only reads resources: it takes part in no election, and writes no status and no Kubernetes Event.
    """
    if settings.platform == "kubernetes":
        from arks.kit.kube.home import KubeHome  # noqa: PLC0415  # 70 MB that one machine does not pay for

        return KubeHome(name, settings, leads=leads)
    return LocalHome(name, settings)
