"""Build the gateway's routes: few and constant, because Envoy applies each change of routes to all of them.

They fail closed: a request goes to the cluster that its header `x-arks-cluster` names. Clients cannot send that header
(the listener removes it), so if the filter fails before it has set the header, no cluster is found and the answer is
503.
"""

from typing import Any

from arks.endpoint_router.adapters.envoy.clusters import RETRIABLE, TOKEN_QUOTA
from arks.endpoint_router.adapters.envoy.cors import cors_policy, preflights
from arks.endpoint_router.adapters.envoy.messages import FilterConfig, PreviousHostsPredicate, extension, seconds
from arks.endpoint_router.adapters.envoy.settings import GatewaySettings

CLUSTER_HEADER = "x-arks-cluster"
STREAM_HEADER = "x-arks-stream"
"""Set by the filter on an admitted request for a stream, for which Envoy then looks its route up again."""
ONCE_HEADER = "x-arks-once"
"""Set by the filter on an admitted request whose body is too long to be kept for another attempt."""
GENERATION_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
NOT_FOR_ENGINES = (
    *("authorization", "cookie", "accept-encoding", "content-encoding"),
    *("x-forwarded-for", "x-envoy-external-address", CLUSTER_HEADER, STREAM_HEADER, ONCE_HEADER),
)
KEY_FILTER = "key"
"""Filter that checks the key before the body; off, except for the routes that turn it on."""
SHORT_BODY_BYTES = 64 * 1024
"""A body of at most this many bytes is read before the key is checked, which saves a query."""
MODELS_PATH = "/v1/models"
MODELS_TIMEOUT_SECONDS = 5
_MODELS_PATHS = ({"path": MODELS_PATH}, {"prefix": f"{MODELS_PATH}/"})
HEALTH_PATHS = ("/livez", "/readyz")
"""For load balancers, which have no key. Envoy listens once it has its configuration, so both have one answer."""


def routes(settings: GatewaySettings) -> dict[str, Any]:
    """Return a RouteConfiguration."""
    return {
        "name": "gateway",
        # token-quota's cluster may arrive after the listener; until then its requests get 503.
        "validate_clusters": False,
        "virtual_hosts": [
            {
                "name": "gateway",
                "domains": ["*"],
                "request_body_buffer_limit": settings.body_limit_bytes,
                **cors_policy(settings.cors_origins),
                "routes": [
                    *preflights(settings.cors_origins, TOKEN_QUOTA),
                    *(route for path in GENERATION_PATHS for route in _generation(path, settings)),
                    *(route for path in GENERATION_PATHS for route in _other_methods({"path": path}, "POST")),
                    *(route for path in _MODELS_PATHS for route in (*_models(path), *_other_methods(path, "GET"))),
                    *(route for path in HEALTH_PATHS for route in _health(path)),
                    {"match": {"prefix": "/"}, **_direct(404)},
                ],
            }
        ],
    }


def to_engine(
    destination: dict[str, Any],
    settings: GatewaySettings,
    first_byte_seconds: float | None = None,
    *,
    retries: bool = True,
) -> dict[str, Any]:
    """Return the part of a route that every request to an engine needs, whatever its destination.

    `first_byte_seconds`: after this time without an answer another replica is tried; None: no limit. `retries`: False
    ends the request at the first failure, so that Envoy does not copy its body for another attempt.
    The engine gets no key and no header of Arks. It must read the body as the JSON that the filter checked, so the
    client's content type and encoding are replaced. It must not compress, because the filter reads the answer.
    """
    return {
        "route": {
            **destination,
            "timeout": seconds(0),
            "idle_timeout": seconds(settings.idle_timeout_seconds),
            "retry_policy": {**_first_byte(first_byte_seconds), **(_retry_elsewhere() if retries else {})},
        },
        "request_headers_to_add": [
            {
                "header": {"key": "content-type", "value": "application/json"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
        "request_headers_to_remove": list(NOT_FOR_ENGINES),
    }


def _generation(path: str, settings: GatewaySettings) -> list[dict[str, Any]]:
    """Return the routes for short bodies, for admitted streams, for admitted requests that are too long for retries,
    and for all others: those with longer bodies, or of unknown length.

    Envoy compares headers before paths, in this order, and looks a route up twice a request. So the most frequent
    routes are first, and in each route the header that most requests of the others lack, or have. Requests that are not
    admitted get no direct response: such a route would not carry the limit of the body.
    """
    destination, first_byte_seconds = {"cluster_header": CLUSTER_HEADER}, settings.stream_first_byte_seconds
    to_cluster = to_engine(destination, settings)
    streamed = to_engine(destination, settings, first_byte_seconds)
    streamed_once = to_engine(destination, settings, first_byte_seconds, retries=False)
    sent_once = to_engine(destination, settings, retries=False)
    short = {"name": "content-length", "range_match": {"start": 0, "end": SHORT_BODY_BYTES + 1}}
    stream, no_stream = _present(STREAM_HEADER), _present(STREAM_HEADER, is_present=False)
    once, no_once = _present(ONCE_HEADER), _present(ONCE_HEADER, is_present=False)
    post = _method("POST")
    turned_on = {"typed_per_filter_config": {KEY_FILTER: extension(FilterConfig, config={})}}
    return [
        {"match": {"path": path, "headers": [short, no_stream, post]}, **to_cluster},
        {"match": {"path": path, "headers": [stream, no_once, post]}, **streamed},
        {"match": {"path": path, "headers": [once, stream, post]}, **streamed_once},
        {"match": {"path": path, "headers": [once, post]}, **sent_once},
        {"match": {"path": path, "headers": [post]}, **to_cluster, **turned_on},
    ]


def _present(header: str, *, is_present: bool = True) -> dict[str, Any]:
    return {"name": header, "present_match": is_present}


def _first_byte(limit_seconds: float | None) -> dict[str, Any]:
    return {} if limit_seconds is None else {"per_try_timeout": seconds(limit_seconds)}


def _retry_elsewhere() -> dict[str, Any]:
    """Retry before the first byte of an answer (Envoy never does later), on another replica if there is one.

    A dead replica has the fewest requests, so the balancer, which compares all of a group, picks it again for a retry
    and ignores the predicate in vain. The second failure ejects it; the workers get that from Envoy's main thread
    within milliseconds, for which the third attempt waits up to 75 ms and the fourth up to 175 ms. A request that
    crashes an engine meets the same dead one next, so it crashes two of them before it has no attempt left.
    """
    return {
        "retry_on": f"{RETRIABLE},retriable-status-codes",
        "retriable_status_codes": [503],
        "num_retries": 3,
        "retry_back_off": {"base_interval": seconds(0.025), "max_interval": seconds(0.25)},
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": extension(PreviousHostsPredicate),
            }
        ],
        "host_selection_retry_max_attempts": 5,
    }


def _models(path: dict[str, str]) -> list[dict[str, Any]]:
    route = {
        "cluster": TOKEN_QUOTA,
        "timeout": seconds(MODELS_TIMEOUT_SECONDS),
        "retry_policy": {"retry_on": RETRIABLE, "num_retries": 2},
    }
    return [{"match": {**path, "headers": [_method(method)]}, "route": route} for method in ("GET", "HEAD")]


def _health(path: str) -> list[dict[str, Any]]:
    answer = {"direct_response": {"status": 200, "body": {"inline_string": "ok\n"}}}
    return [
        *({"match": {"path": path, "headers": [_method(method)]}, **answer} for method in ("GET", "HEAD")),
        *_other_methods({"path": path}, "GET"),
    ]


def _other_methods(path: dict[str, str], allowed: str) -> list[dict[str, Any]]:
    """Return the routes for OPTIONS and for methods that the path does not take."""
    return [
        {"match": {**path, "headers": [_method("OPTIONS")]}, **_direct(204, allow=f"{allowed}, OPTIONS")},
        {"match": path, **_direct(405, allow=allowed)},
    ]


def _direct(status: int, allow: str = "") -> dict[str, Any]:
    header = {"response_headers_to_add": [{"header": {"key": "allow", "value": allow}}]} if allow else {}
    return {"direct_response": {"status": status}, **header}


def _method(name: str) -> dict[str, Any]:
    return {"name": ":method", "string_match": {"exact": name}}
