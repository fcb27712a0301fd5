"""Envoy's configuration, built from plain values.

    GatewaySettings                        what an operator may change about the gateway
    listener(settings)                     -> Listener: cleaning, filters, routes, local replies, usage log
    cluster(name)                          -> Cluster of one endpoint, `<namespace>/<endpoint>`, EDS over ADS
    load_assignment(name, backends)        -> ClusterLoadAssignment: its replicas and their weights
    token_quota_cluster(host, port)        -> Cluster `token-quota`, which the filter and /v1/models query
    runtime(limits)                        -> Runtime: limits of endpoints, RTDS over ADS
    collector_cluster(traces)              -> Cluster of the collector that Envoy sends spans to
    ads_bootstrap(...)                     -> Bootstrap of an Envoy that gets everything else from endpoint-router
    certificate_source(directory)          -> DiscoveryResponse: the file beside Envoy that names certificate and key
    static_cluster(name, backends)         -> Cluster with its replicas written into it
    static_bootstrap(...)                  -> Bootstrap of an Envoy with all of it in one file (tests, benchmark)
    to_json(message)                       -> the text of a bootstrap file
    command(binary, bootstrap_path, ...)   -> how Envoy is started

All of them are pure: no clock, and no I/O. The filter itself is libs/gateway-filter, a module that Envoy loads.
The xDS server sends clusters as CDS, load assignments as EDS, and the listener as LDS; routes are few, constant and
part of the listener, so there is no RDS.
"""

from arks.endpoint_router.adapters.envoy.bootstrap import ads_bootstrap, command, static_bootstrap
from arks.endpoint_router.adapters.envoy.clusters import (
    Backend,
    cluster,
    load_assignment,
    static_cluster,
    token_quota_cluster,
)
from arks.endpoint_router.adapters.envoy.listeners import listener
from arks.endpoint_router.adapters.envoy.messages import to_json
from arks.endpoint_router.adapters.envoy.runtime import runtime
from arks.endpoint_router.adapters.envoy.settings import GatewaySettings
from arks.endpoint_router.adapters.envoy.tls import certificate_source
from arks.endpoint_router.adapters.envoy.tracing import TraceSettings, collector_cluster

__all__ = [
    "Backend",
    "GatewaySettings",
    "TraceSettings",
    "ads_bootstrap",
    "certificate_source",
    "cluster",
    "collector_cluster",
    "command",
    "listener",
    "load_assignment",
    "runtime",
    "static_bootstrap",
    "static_cluster",
    "to_json",
    "token_quota_cluster",
]
