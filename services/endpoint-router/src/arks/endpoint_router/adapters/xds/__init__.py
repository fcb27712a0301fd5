"""xDS (aggregated discovery): push the newest configuration to every connected Envoy, and handle rejections.

snapshot.py      the configuration: resources with revisions, and the last accepted one of each
subscription.py  what one Envoy subscribed to of one type, and what it has of it
session.py       the protocol of one stream, without I/O: nonces, acknowledgements, and what Envoy lacks
wire.py          its two forms: state of the world, and incremental
server.py        the gRPC server
"""

from arks.endpoint_router.adapters.xds.server import OnRejected, XdsServer
from arks.endpoint_router.adapters.xds.snapshot import CLUSTER, ENDPOINT, LISTENER, RUNTIME, ConfigSnapshot

__all__ = ["CLUSTER", "ENDPOINT", "LISTENER", "RUNTIME", "ConfigSnapshot", "OnRejected", "XdsServer"]
