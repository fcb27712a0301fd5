"""Cross-origin requests: which pages in browsers may call the gateway.

The key is in the header `authorization`, never in a cookie, so pages need no credentials and `*` is possible.
"""

from collections.abc import Sequence
from typing import Any

from arks.endpoint_router.adapters.envoy.messages import Cors, CorsPolicy, extension

CORS_FILTER = "cors"
ANY = "*"
METHODS = "GET, POST, OPTIONS"
REQUEST_HEADERS = "authorization, content-type, *"
"""`*` does not include authorization (Fetch standard), and not every browser knows it."""
ANSWER_HEADERS = ", ".join(
    (
        *("x-request-id", "retry-after"),
        *(f"x-ratelimit-{field}-{of}" for of in ("requests", "tokens") for field in ("limit", "remaining", "reset")),
    )
)
MAX_AGE_SECONDS = 7200
"""How long a browser keeps the answer to a preflight; Chrome's own limit."""


def cors_filter(origins: Sequence[str]) -> list[dict[str, Any]]:
    """Return the filter; none without origins, so that other gateways do not pay for it."""
    return [{"name": CORS_FILTER, "typed_config": extension(Cors)}] if origins else []


def cors_policy(origins: Sequence[str]) -> dict[str, Any]:
    """Return the part of the virtual host. `origins`: `https://app.example`, or `*` for all."""
    if not origins:
        return {}
    policy = extension(
        CorsPolicy,
        allow_origin_string_match=[_match(origin) for origin in origins],
        allow_methods=METHODS,
        allow_headers=REQUEST_HEADERS,
        expose_headers=ANSWER_HEADERS,
        max_age=str(MAX_AGE_SECONDS),
        forward_not_matching_preflights=False,
    )
    return {"typed_per_filter_config": {CORS_FILTER: policy}}


def preflights(origins: Sequence[str], cluster: str) -> list[dict[str, Any]]:
    """Return the route for preflights, which the filter answers. `cluster`: never reached; Envoy's filter overlooks
    routes with a direct response.
    """
    if not origins:
        return []
    method = {"name": ":method", "string_match": {"exact": "OPTIONS"}}
    marks = [{"name": name, "present_match": True} for name in ("origin", "access-control-request-method")]
    return [{"match": {"prefix": "/", "headers": [method, *marks]}, "route": {"cluster": cluster}}]


def _match(origin: str) -> dict[str, Any]:
    return {"safe_regex": {"regex": ".*"}} if origin == ANY else {"exact": origin}
