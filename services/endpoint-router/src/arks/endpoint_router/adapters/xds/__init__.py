"""Aggregated discovery (xDS): tells every connected Envoy the newest configuration, and notices when one refuses it.

world.py     what Envoy should have: resources with revisions, the last good one of each
session.py   the protocol of one stream, without I/O: subscriptions, nonces, acknowledgements
server.py    the gRPC server around it
"""

from arks.endpoint_router.adapters.xds.server import AdsServer
from arks.endpoint_router.adapters.xds.snapshot import CLUSTER, ENDPOINT, LISTENER, World

__all__ = ["CLUSTER", "ENDPOINT", "LISTENER", "AdsServer", "World"]
