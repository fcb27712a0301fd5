"""Build the gateway's listener: cleaning of requests, admission filter, routes, local replies and usage log."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from arks.endpoint_router.adapters.envoy.cors import cors_filter
from arks.endpoint_router.adapters.envoy.local_replies import local_replies
from arks.endpoint_router.adapters.envoy.messages import (
    DynamicModuleFilter,
    HeaderMutation,
    HttpConnectionManager,
    HttpInspector,
    Listener,
    ListenerModule,
    LoggerModule,
    NetworkModule,
    Router,
    StringValue,
    TlsInspector,
    UuidRequestIdConfig,
    extension,
    listening_address,
    message,
    seconds,
)
from arks.endpoint_router.adapters.envoy.routes import KEY_FILTER, routes
from arks.endpoint_router.adapters.envoy.settings import GatewaySettings
from arks.endpoint_router.adapters.envoy.tls import filter_chain_tls
from arks.endpoint_router.adapters.envoy.tracing import manager_tracing
from arks.gateway_filter import MODULE

CONNECTION_BUFFER_BYTES = 128 * 1024
"""What a worker reads of one connection before it turns to the next (1 MiB takes 1.3 ms), and its buffer for answers
that its client does not read. Bodies that a filter keeps have their own limit. With 256 KiB a request of 220 KB takes
14 us more: read whole, it drives Envoy's code out of the processor's cache before the request is handled."""
ACCEPTED_AT_ONCE = 32
"""New connections that a worker takes before it turns to requests. Without a limit it takes all that wait, of which a
client can make hundreds."""
REMOVED_PREFIXES = ("x-", "if-")
"""Headers that never pass: Arks' own, Envoy's controls, and those by which engines choose a rank, a session or a part
of an answer that was generated, and so charged, as a whole."""
REMOVED = ("namespace", "model", "username", "range", "forwarded", "via", "te", "priority", "proxy-authorization")
FORWARDED_FOR, KEPT_FORWARDED_FOR = "x-forwarded-for", "arks-forwarded-for"


def listener(settings: GatewaySettings) -> Listener:
    """Return the gateway's listener: it admits and meters every request to a model."""
    filters = [
        *cors_filter(settings.cors_origins),
        {"name": KEY_FILTER, "disabled": True, "typed_config": _module("guarded-key", settings)},
        {"name": "admission", "typed_config": _admission(settings)},
    ]
    return build(settings, routes(settings), filters, usage_log(settings))


def build(
    settings: GatewaySettings,
    route_config: Mapping[str, Any],
    filters: list[dict[str, Any]],
    access_log: list[dict[str, Any]],
) -> Listener:
    """Return a listener with any routes, filters and log; the benchmark builds one without the filter."""
    manager = extension(
        HttpConnectionManager,
        stat_prefix="gateway",
        codec_type="AUTO",
        route_config=route_config,
        http_filters=[*filters, _router()],
        access_log=access_log,
        local_reply_config=local_replies(),
        **_identity(settings),
        **_limits(settings),
        **manager_tracing(settings.traces),
    )
    tls = filter_chain_tls(str(settings.certificate_source)) if settings.certificate_source else {}
    return message(
        Listener,
        {
            "name": "gateway",
            "address": {"socket_address": listening_address(settings.address, settings.port)},
            **_listener_filters(settings),
            "per_connection_buffer_limit_bytes": CONNECTION_BUFFER_BYTES,
            "max_connections_to_accept_per_socket_event": ACCEPTED_AT_ONCE,
            "filter_chains": [
                {"filters": [*_connections(NetworkModule, settings), {"name": "http", "typed_config": manager}], **tls}
            ],
        },
    )


def _listener_filters(settings: GatewaySettings) -> dict[str, Any]:
    """Close connections beyond the limit of their address, and those that send no byte in time: Envoy's own timeouts
    begin with a request, or when one has ended.
    """
    inspector = {
        "name": "first byte",
        "typed_config": extension(TlsInspector if settings.certificate_source else HttpInspector),
    }
    return {
        "listener_filters": [*_connections(ListenerModule, settings), inspector],
        "listener_filters_timeout": seconds(settings.first_byte_timeout_seconds),
        "continue_on_listener_filters_timeout": False,
    }


def _connections(kind: type[Message], settings: GatewaySettings) -> list[dict[str, Any]]:
    """Count open connections by address, for which Envoy has no limit. Behind proxies all have those of the proxies."""
    if settings.trusted_hops or not settings.connections_per_address:
        return []
    config = _in_module(kind, "connections", str(settings.connections_per_address))
    return [{"name": "connections", "typed_config": config}]


def _admission(settings: GatewaySettings) -> dict[str, Any]:
    if settings.traces is None:
        return _module("guarded-logging-admission", settings)
    return _module("guarded-logging-traced-admission", settings, settings.traces.sampling)


def _module(name: str, settings: GatewaySettings, *others: str) -> dict[str, Any]:
    """Return a filter of the native module, which reads its configuration in `workers.rs`."""
    limits = f"{settings.failures_per_second} {settings.long_body_bytes}"
    return _in_module(DynamicModuleFilter, name, "\n".join((limits, *others, settings.starts_path)))


def _in_module(message: type[Message], name: str, config: str, kind: str = "filter") -> dict[str, Any]:
    named = {f"{kind}_name": name, f"{kind}_config": extension(StringValue, value=config)}
    # A library that is closed would take the state of Envoy's threads with it.
    return extension(message, dynamic_module_config={"name": MODULE, "do_not_close": True}, **named)


def _identity(settings: GatewaySettings) -> dict[str, Any]:
    """Remove headers by which a client could claim an identity or steer an engine; set a new request id."""
    prefixes = [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in REMOVED_PREFIXES]
    names = [{"remove": name} for name in REMOVED]
    cleaned = [*prefixes, *names]
    if settings.trusted_hops:
        # Its prefix would remove the proxies' header too, so that is kept under another name meanwhile.
        keep, restore = _copied(FORWARDED_FOR, KEPT_FORWARDED_FOR), _copied(KEPT_FORWARDED_FOR, FORWARDED_FOR)
        cleaned = [keep, *cleaned, restore, {"remove": KEPT_FORWARDED_FOR}]
    cleaning = extension(HeaderMutation, mutations=cleaned)
    request_id = extension(UuidRequestIdConfig, pack_trace_reason=False)
    return {
        "use_remote_address": True,
        **({"xff_num_trusted_hops": settings.trusted_hops} if settings.trusted_hops else {}),
        "early_header_mutation_extensions": [{"name": "cleaning", "typed_config": cleaning}],
        "generate_request_id": True,
        "always_set_request_id_in_response": True,
        "request_id_extension": {"typed_config": request_id},
        "normalize_path": True,
        "merge_slashes": True,
        # A model's name may hold an escaped slash (/v1/models/org%2Fname); it matches no other path.
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "server_name": "arks",
    }


def _copied(source: str, target: str) -> dict[str, Any]:
    """Return the mutation that sets a header to the value of another one; "-" if there is none, which is no address."""
    header = {"key": target, "value": f"%REQ({source})%"}
    return {"append": {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}


def _limits(settings: GatewaySettings) -> dict[str, Any]:
    return {
        "request_headers_timeout": seconds(settings.headers_timeout_seconds),
        "request_timeout": seconds(settings.request_timeout_seconds),
        "stream_idle_timeout": seconds(settings.idle_timeout_seconds),
        "common_http_protocol_options": {
            "idle_timeout": seconds(600),
            "max_headers_count": 100,
            "headers_with_underscores_action": "DROP_HEADER",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": settings.http2_streams_limit,
            "initial_stream_window_size": 1024 * 1024,
            "initial_connection_window_size": 4 * 1024 * 1024,
        },
        "max_request_headers_kb": 60,
    }


def _router() -> dict[str, Any]:
    return {"name": "envoy.filters.http.router", "typed_config": extension(Router, suppress_envoy_headers=True)}


def usage_log(settings: GatewaySettings) -> list[dict[str, Any]]:
    """Let the native module write a line for each request with a grant; other requests have used nothing.

    docs/architecture/leases.md fixes the columns. Envoy's own logger would wake a thread for each kilobyte.
    """
    config = _in_module(LoggerModule, "usage", settings.usage_log_path, kind="logger")
    return [{"name": "usage", "typed_config": config}]
