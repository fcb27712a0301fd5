"""xDS (aggregated discovery): push the newest configuration to every connected Envoy, and handle rejections.

snapshot.py  the configuration: resources with revisions, and the last accepted one of each
session.py   the protocol of one stream, without I/O: subscriptions, nonces, acknowledgements
server.py    the gRPC server
"""

from arks.endpoint_router.adapters.xds.server import XdsServer
from arks.endpoint_router.adapters.xds.snapshot import CLUSTER, ENDPOINT, LISTENER, RUNTIME, ConfigSnapshot

__all__ = ["CLUSTER", "ENDPOINT", "LISTENER", "RUNTIME", "ConfigSnapshot", "XdsServer"]
