"""Build the configuration that Envoy starts with: the xDS server, its limits, and its command line."""

from collections.abc import Sequence
from typing import Any

from arks.contracts.gateway_token import GATEWAY_TOKEN_HEADER
from arks.endpoint_router.adapters.envoy.clusters import address, one_address
from arks.endpoint_router.adapters.envoy.messages import (
    Bootstrap,
    Cluster,
    DownstreamConnectionsConfig,
    FixedHeapConfig,
    HeaderMutationFilter,
    HttpConnectionManager,
    HttpProtocolOptions,
    Listener,
    Router,
    ScaleTimersOverloadActionConfig,
    UpstreamCodec,
    as_dict,
    extension,
    listening_address,
    message,
    seconds,
)
from arks.endpoint_router.adapters.envoy.runtime import LAYER

ADS = "endpoint-router"
HEAP_BYTES = 2 * 1024 * 1024 * 1024
CONNECTIONS_LIMIT = 20_000
IDLE_SECONDS = 5.0
"""How long a connection without a request stays when memory is nearly used up."""
ADMIN = "envoy-admin"
GATEWAY_TOKEN_VARIABLE = "ARKS_GATEWAY_TOKEN"  # noqa: S105  # a name
"""Environment variable with the token that Envoy presents to endpoint-router and token-quota (also in the filter)."""
STATS_SECONDS = 10.0
LIMITS_SECONDS = 3.0
DRAIN_SECONDS = 300
"""How long requests in flight may go on at a listener that an upgrade of Arks has replaced."""


def ads_bootstrap(
    node_id: str,
    ads_host: str,
    ads_port: int,
    admin_port: int,
    *,
    heap_bytes: int = HEAP_BYTES,
    stats_port: int | None = None,
    ads_socket: str | None = None,
    admin_socket: str | None = None,
) -> Bootstrap:
    """Return the bootstrap of an Envoy that gets its configuration from endpoint-router, and keeps it without one.

    `stats_port`: port of its metrics on all addresses; None: only its admin interface has them. `ads_socket` and
    `admin_socket`: paths of Unix sockets instead of host and port, for those who may open them only.
    """
    # By default Envoy reconnects to a restarted router after up to 30 s, and misses changes of replicas until then.
    retry = {"base_interval": seconds(0.1), "max_interval": seconds(1)}
    ads = {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [{"envoy_grpc": {"cluster_name": ADS, "retry_policy": {"retry_back_off": retry}}}],
    }
    admin = address("127.0.0.1", admin_port, admin_socket)
    from_ads = {"ads": {}, "resource_api_version": "V3"}
    return message(
        Bootstrap,
        {
            **_process(node_id, admin, heap_bytes),
            "layered_runtime": {"layers": [_limits(from_ads)]},
            "dynamic_resources": {"ads_config": ads, "cds_config": from_ads, "lds_config": from_ads},
            "static_resources": {
                "clusters": [
                    _ads_cluster(ads_host, ads_port, ads_socket),
                    *([] if stats_port is None else [_admin(admin)]),
                ],
                "listeners": [] if stats_port is None else [_stats(stats_port)],
            },
        },
    )


def static_bootstrap(
    node_id: str,
    admin_port: int,
    listeners: Sequence[Listener],
    clusters: Sequence[Cluster],
    heap_bytes: int = HEAP_BYTES,
) -> Bootstrap:
    """Return the bootstrap of an Envoy with all configuration in one file.

    Clusters must contain their replicas (`static_cluster`).
    """
    admin = address("127.0.0.1", admin_port)
    resources = {
        "listeners": [as_dict(listener) for listener in listeners],
        "clusters": [as_dict(cluster) for cluster in clusters],
    }
    return message(Bootstrap, {**_process(node_id, admin, heap_bytes), "static_resources": resources})


def command(binary: str, bootstrap_path: str, workers: int, drain_seconds: int = DRAIN_SECONDS) -> list[str]:
    """Return Envoy's command line.

    Envoy's own logger, by which an endpoint-router of the version before writes the usage log, flushes at 1 KB or 100
    ms: a killed Envoy loses unwritten lines. Hot restart is off: it would connect the Envoys of one machine by shared
    memory.
    """
    options = {
        "--config-path": bootstrap_path,
        "--concurrency": str(workers),
        "--file-flush-min-size-kb": "1",
        "--file-flush-interval-msec": "100",
        "--drain-time-s": str(drain_seconds),
        "--log-level": "warn",
    }
    return [binary, "--disable-hot-restart", *(word for option in options.items() for word in option)]


def _process(node_id: str, admin: dict[str, Any], heap_bytes: int) -> dict[str, Any]:
    return {
        "node": {"id": node_id, "cluster": "arks"},
        "admin": {"address": admin},
        "overload_manager": _overload(heap_bytes),
    }


def _limits(from_ads: dict[str, Any]) -> dict[str, Any]:
    """Return the layer of endpoints' limits. Envoy waits for it before all else, so not for long: an endpoint-router of
    an older version has none.
    """
    config = {**from_ads, "initial_fetch_timeout": seconds(LIMITS_SECONDS)}
    return {"name": LAYER, "rtds_layer": {"name": LAYER, "rtds_config": config}}


def _overload(heap_bytes: int) -> dict[str, Any]:
    """Bodies wait in memory for admission. Near the limit idle connections end earlier, then new requests get 503, so
    that those in flight survive.

    Resetting the streams that hold the most memory would not help: Envoy 1.40 counts those of HTTP/2 only.
    """

    def action(name: str, monitor: str, threshold: float) -> dict[str, Any]:
        trigger = {"name": monitor, "threshold": {"value": threshold}}
        return {"name": f"envoy.overload_actions.{name}", "triggers": [trigger]}

    heap, connections = (
        "envoy.resource_monitors.fixed_heap",
        "envoy.resource_monitors.global_downstream_max_connections",
    )
    limit = extension(DownstreamConnectionsConfig, max_active_downstream_connections=CONNECTIONS_LIMIT)
    rising = {"name": heap, "scaled": {"scaling_threshold": 0.8, "saturation_threshold": 0.95}}
    idle = {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": seconds(IDLE_SECONDS)}
    timers = extension(ScaleTimersOverloadActionConfig, timer_scale_factors=[idle])
    return {
        "refresh_interval": seconds(0.25),
        "resource_monitors": [
            {"name": heap, "typed_config": extension(FixedHeapConfig, max_heap_size_bytes=heap_bytes)},
            {"name": connections, "typed_config": limit},
        ],
        "actions": [
            action("shrink_heap", heap, 0.85),
            {"name": "envoy.overload_actions.reduce_timeouts", "triggers": [rising], "typed_config": timers},
            action("disable_http_keepalive", heap, 0.9),
            action("stop_accepting_requests", heap, 0.95),
            action("stop_accepting_connections", heap, 0.98),
        ],
    }


def _admin(admin: dict[str, Any]) -> dict[str, Any]:
    assignment = {"cluster_name": ADMIN, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": admin}}]}]}
    return {"name": ADMIN, "type": "STATIC", "connect_timeout": seconds(1), "load_assignment": assignment}


def _stats(port: int) -> dict[str, Any]:
    """Serve `GET /metrics` and nothing else of the admin interface, which could stop Envoy. Without unused metrics."""
    get = {"name": ":method", "string_match": {"exact": "GET"}}
    metrics = {"cluster": ADMIN, "prefix_rewrite": "/stats/prometheus?usedonly", "timeout": seconds(STATS_SECONDS)}
    routes = [
        {"match": {"path": "/metrics", "headers": [get]}, "route": metrics},
        {"match": {"prefix": "/"}, "direct_response": {"status": 404}},
    ]
    manager = extension(
        HttpConnectionManager,
        stat_prefix="stats",
        route_config={"virtual_hosts": [{"name": "stats", "domains": ["*"], "routes": routes}]},
        http_filters=[{"name": "envoy.filters.http.router", "typed_config": extension(Router)}],
        request_timeout=seconds(STATS_SECONDS),
        common_http_protocol_options={"idle_timeout": seconds(120)},
    )
    return {
        "name": "stats",
        "address": {"socket_address": listening_address("0.0.0.0", port)},  # noqa: S104  # Prometheus scrapes it from other machines
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        # Metrics matter most when clients use all connections or all memory.
        "ignore_global_conn_limit": True,
        "bypass_overload_manager": True,
    }


def _ads_cluster(host: str, port: int, socket: str | None) -> dict[str, Any]:
    """Envoy reads the token from its environment, because a ConfigMap has this file. Without the variable it sends
    "-". `initial_metadata` of the gRPC service would be simpler, but Envoy sends it without the variable's value.
    """
    token = {"key": GATEWAY_TOKEN_HEADER, "value": f"%ENVIRONMENT({GATEWAY_TOKEN_VARIABLE})%"}
    add = {"append": {"header": token, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
    filters = {
        "token": extension(HeaderMutationFilter, mutations={"request_mutations": [add]}),
        "codec": extension(UpstreamCodec),
    }
    http2 = {"connection_keepalive": {"interval": seconds(10), "timeout": seconds(5)}}
    return {
        "name": ADS,
        "type": "STATIC" if socket else "STRICT_DNS",
        "connect_timeout": seconds(1),
        "load_assignment": one_address(ADS, host, port, socket),
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": extension(
                HttpProtocolOptions,
                explicit_http_config={"http2_protocol_options": http2},
                http_filters=[{"name": name, "typed_config": config} for name, config in filters.items()],
            )
        },
    }
