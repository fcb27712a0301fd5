"""A small configuration for Envoys, and the other end of a discovery stream, in either of its forms."""

from typing import Protocol, TypeVar

from arks.endpoint_router.adapters.envoy.messages import Cluster, ClusterLoadAssignment, Listener
from arks.endpoint_router.adapters.xds import CLUSTER, ENDPOINT, LISTENER, ConfigSnapshot


class Subscriber(Protocol):
    """A model of Envoy; a test decides what it acknowledges."""

    def subscribe(self, type_: str, *names: str) -> None: ...

    def settle(self) -> object:
        """Receive and acknowledge everything."""


Envoy = TypeVar("Envoy", bound=Subscriber)


def assignment(name: str, port: int = 1, region: str = "") -> ClusterLoadAssignment:
    """Return a cluster's only endpoint."""
    built = ClusterLoadAssignment(cluster_name=name)
    locality = built.endpoints.add()
    locality.locality.region = region
    locality.lb_endpoints.add().endpoint.address.socket_address.port_value = port
    return built


def snapshot(*clusters: str) -> ConfigSnapshot:
    """Return a configuration of one listener and of these clusters with their endpoints."""
    made = ConfigSnapshot()
    made.put(LISTENER, "gateway", Listener(name="gateway"))
    for name in clusters:
        made.put(CLUSTER, name, Cluster(name=name))
        made.put(ENDPOINT, name, assignment(name))
    return made


def settled(envoy: Envoy, *clusters: str) -> Envoy:
    """Return the Envoy with the configuration, and the endpoints of these clusters."""
    envoy.subscribe(CLUSTER)
    envoy.subscribe(ENDPOINT, *clusters)
    envoy.subscribe(LISTENER)
    envoy.settle()
    return envoy
