"""Build the clusters of endpoints, with replicas as load assignments, and the cluster of token-quota."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from zlib import crc32

from msgspec import Struct
from msgspec.structs import astuple

from arks.endpoint_router.adapters.envoy.messages import (
    BalancerModule,
    Cluster,
    ClusterLoadAssignment,
    DynamicModuleFilter,
    HeaderMutationFilter,
    HttpProtocolOptions,
    LeastRequest,
    StringValue,
    UpstreamCodec,
    extension,
    message,
    seconds,
)
from arks.endpoint_router.domain import native
from arks.gateway_filter import MODULE

TOKEN_QUOTA = "token-quota"  # noqa: S105  # a cluster's name
RETRIABLE = "connect-failure,refused-stream,reset"
"""Failures to retry: connections that cannot be made, or that break before the first byte of an answer."""
CONNECT_TIMEOUT_SECONDS = 2
"""Allows for one lost SYN, which is sent again after 1 s."""
ENGINE_IDLE_SECONDS = 3
"""Envoy closes idle connections before the engine does (uvicorn and llama.cpp: after 5 s), so that none breaks when it
is used again."""
TOKEN_QUOTA_IDLE_SECONDS = 20
"""Below granian's 30 s, for the same reason."""
EJECTION_SECONDS, EJECTION_STEPS = 1, 250
"""Interval at which Envoy looks at ejected replicas of a cluster, and up to how many milliseconds it is longer: equal
intervals of a thousand clusters that came together end together, and the next weights wait 20 ms for them."""
UNBOUNDED = 1 << 20
"""Envoy's circuit breakers allow 1,024 requests at the same time by default; here the limits of `runtime.py` hold."""
RETRY_BUDGET_PERCENT, LEAST_RETRIES = 100, 256
"""Retries at the same time, as a part of all requests in flight, or this number if it is greater: until a replica that
fails at once is ejected it gets most requests, and those that wait for their retry are not in flight. `runtime.py` has
the percentage of endpoints with several replicas."""
AFFINITY_HEADER = "x-arks-affinity"
"""The key of a request's session or prompt, from the filter to the balancer."""
SEND_BUFFER_BYTES = 128 * 1024
"""Of a connection to an engine, in the kernel, which doubles it. Envoy writes until this is full, and does nothing else
meanwhile: the kernel's own choice takes a body of 31 MiB at once if the engine reads as fast (16 ms instead of 5)."""
_SOL_SOCKET, _SO_SNDBUF = 1, 7
"""Of Linux."""
SOCKET_MODE = 0o600
"""Of a Unix socket that Envoy opens: for its owner only."""


class Backend(Struct, frozen=True, gc=False):
    """One replica of an endpoint."""

    host: str
    """An IP address: Envoy resolves no names in load assignments."""
    port: int
    weight: int = 1
    """1 to 2^32-1, the same in a whole group: only then Envoy picks by requests in flight. A replica that should get
    nothing is omitted, or draining."""
    draining: bool = False
    """Gets no new request; streams in flight go on."""
    group: str = ""
    """Name of its locality. A group gets the share of its weight, however busy its replicas are."""
    room: int = 0
    """With affinity: as many requests in flight never make it busy."""
    retry_after_seconds: int = 0
    """For a client whose request is too many for the endpoint; 0: there is no such limit."""


def cluster(name: str, load_limit_percent: int | None = None, *, joins_streams: bool = False) -> Cluster:
    """Return the cluster of one endpoint, `<namespace>/<endpoint>`; a load assignment of that name has its replicas.

    `load_limit_percent`: with affinity, the part of its share of the load from which a replica is busy.
    `joins_streams`: its engines make a stream also for a client that wants JSON.
    """
    built = Cluster()
    built.CopyFrom(_endpoint_template(load_limit_percent, joins_streams))
    built.name = name
    built.outlier_detection.interval.nanos = crc32(name.encode()) % EJECTION_STEPS * 1_000_000
    return built


def static_cluster(
    name: str, backends: Sequence[Backend], load_limit_percent: int | None = None, *, joins_streams: bool = False
) -> Cluster:
    """Return the same cluster with its replicas in it, for an Envoy without endpoint-router."""
    built = cluster(name, load_limit_percent, joins_streams=joins_streams)
    built.ClearField("eds_cluster_config")
    built.type = Cluster.STATIC
    built.load_assignment.CopyFrom(load_assignment(name, backends))
    return built


def load_assignment(
    name: str, backends: Sequence[Backend], weights: Mapping[str, int] | None = None
) -> ClusterLoadAssignment:
    """Return the replicas of a cluster. `weights`: of the groups; a group without one gets the sum of its replicas'."""
    encoded = native.load_assignment(name, [astuple(backend) for backend in backends], weights or {})
    return ClusterLoadAssignment.FromString(encoded)


def token_quota_cluster(host: str, port: int, socket: str | None = None) -> Cluster:
    """Return the cluster of admission. `host` may be a DNS name with one address for each replica; `socket`: path of
    a Unix socket instead of host and port.
    """
    return message(
        Cluster,
        {
            "name": TOKEN_QUOTA,
            "type": "STATIC" if socket else "STRICT_DNS",
            "load_assignment": one_address(TOKEN_QUOTA, host, port, socket),
            "lb_policy": "LEAST_REQUEST",
            "connect_timeout": seconds(0.5),
            "outlier_detection": _ejection(),
            # A retry is safe: token-quota makes one reservation for a request id.
            **_common(TOKEN_QUOTA_IDLE_SECONDS, http={"retry_policy": {"retry_on": RETRIABLE, "num_retries": 2}}),
        },
    )


def one_address(name: str, host: str, port: int, socket: str | None = None) -> dict[str, Any]:
    """Return a load assignment of one address: host and port, or the path of a Unix socket."""
    endpoint = {"endpoint": {"address": address(host, port, socket)}}
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}


def address(host: str, port: int, socket: str | None = None) -> dict[str, Any]:
    if socket is not None:
        return {"pipe": {"path": socket, "mode": SOCKET_MODE}}
    return {"socket_address": {"address": host, "port_value": port}}


@cache
def _endpoint_template(load_limit_percent: int | None, joins_streams: bool) -> Cluster:
    balancing = _balancing() if load_limit_percent is None else _affinity(load_limit_percent)
    return message(
        Cluster,
        {
            "name": "template",
            "type": "EDS",
            "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}},
            "load_balancing_policy": {"policies": [balancing]},
            "connect_timeout": seconds(CONNECT_TIMEOUT_SECONDS),
            "outlier_detection": _ejection(),
            "upstream_bind_config": {"socket_options": [_send_buffer()]},
            **_common(
                ENGINE_IDLE_SECONDS, http=_upstream_filters(has_key=load_limit_percent is not None, joins=joins_streams)
            ),
        },
    )


def _send_buffer() -> dict[str, Any]:
    option = {"level": _SOL_SOCKET, "name": _SO_SNDBUF, "int_value": SEND_BUFFER_BYTES, "state": "STATE_PREBIND"}
    return {"description": "send buffer", **option}


def _affinity(load_limit_percent: int) -> dict[str, Any]:
    """Let the native module choose: by the key that the filter has set, unless that replica is busy (`affinity.rs`).

    Envoy's ring hash has bounded loads too, but moves keys with every change of a weight, and weights follow queues.
    """
    policy = extension(
        BalancerModule,
        dynamic_module_config={"name": MODULE, "do_not_close": True},
        lb_policy_name="affinity",
        lb_policy_config=extension(StringValue, value=str(load_limit_percent)),
    )
    return {"typed_extension_config": {"name": "affinity", "typed_config": policy}}


def _upstream_filters(*, has_key: bool, joins: bool) -> dict[str, Any]:
    """Return the filters between Envoy's router and the engines: each attempt of a request has its own.

    One keeps the key from engines: the routes would remove it for all endpoints. One joins streams (`envoy/join.rs`).
    """
    found: list[tuple[str, Any]] = []
    if joins:
        module = {"name": MODULE, "do_not_close": True}
        found += [("join", extension(DynamicModuleFilter, dynamic_module_config=module, filter_name="join"))]
    if has_key:
        removal = {"request_mutations": [{"remove": AFFINITY_HEADER}]}
        found += [("key", extension(HeaderMutationFilter, mutations=removal))]
    if not found:
        return {}
    found += [("codec", extension(UpstreamCodec))]
    return {"http_filters": [{"name": name, "typed_config": config} for name, config in found]}


def _balancing() -> dict[str, Any]:
    """Divide requests between localities by weight; inside one, take the replica with the fewest requests in flight.

    All replicas are compared: with the default, two random ones, a quarter of the requests to four replicas misses the
    emptiest one, and waits if that was the only one with a free slot.
    """
    policy = extension(
        LeastRequest, selection_method="FULL_SCAN", locality_lb_config={"locality_weighted_lb_config": {}}
    )
    return {"typed_extension_config": {"name": "least_request", "typed_config": policy}}


def _common(idle_seconds: float, *, http: Mapping[str, Any] | None = None) -> dict[str, Any]:
    limits = {"max_connections": UNBOUNDED, "max_pending_requests": UNBOUNDED, "max_requests": UNBOUNDED}
    retries = {"budget_percent": {"value": RETRY_BUDGET_PERCENT}, "min_retry_concurrency": LEAST_RETRIES}
    return {
        # Off: with half the replicas ejected, Envoy would otherwise send traffic to the ejected ones again.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": {"thresholds": [{**limits, "retry_budget": retries}]},
        "upstream_connection_options": {
            # Detects a peer that vanished without closing the connection, after 30 + 3 x 10 s.
            "tcp_keepalive": {"keepalive_time": 30, "keepalive_interval": 10, "keepalive_probes": 3}
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": extension(
                HttpProtocolOptions,
                common_http_protocol_options={"idle_timeout": seconds(idle_seconds)},
                explicit_http_config={"http_protocol_options": {}},
                **(http or {}),
            )
        },
    }


def _ejection() -> dict[str, Any]:
    """Eject a replica for a while that refuses or breaks connections twice in a row.

    Not more often, because only the ejection leads a request's retries elsewhere (`_retry_elsewhere` in routes.py).
    Both count as 503. Envoy can count them by themselves (`split_external_local_origin_errors`), but then each
    connection that is made begins the count anew, so a replica that breaks every connection would never be ejected. A
    break after the first byte of an answer is not found: the answer's status has begun the count anew.
    Of the engine's own answers only 502, 503 and 504 count: a client can provoke 500s, and must not be able to eject
    replicas. Among five or more replicas, the success rate finds one that fails much more than the others.
    """
    return {
        "consecutive_gateway_failure": 2,
        "enforcing_consecutive_gateway_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "interval": seconds(EJECTION_SECONDS),
        "base_ejection_time": seconds(5),
        "max_ejection_time": seconds(30),
        # All but one of up to 99 replicas, so the only replica of an endpoint is never ejected.
        "max_ejection_percent": 99,
    }
