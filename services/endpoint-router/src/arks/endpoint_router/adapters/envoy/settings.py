"""Settings of the gateway, each with its unit, default and reason."""

from dataclasses import dataclass
from pathlib import PurePath

from arks.endpoint_router.adapters.envoy.tracing import TraceSettings


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    usage_log_path: str
    """File that gets one line for each request with a grant at its end; the usage shipper reads it."""
    address: str = "127.0.0.1"
    port: int = 8080
    certificate_source: PurePath | None = None
    """File, on Envoy's machine, that names certificate and key (see `certificate_source`); None: plain HTTP."""
    body_limit_bytes: int = 32 * 1024 * 1024
    """A longer request body is answered 413. The filter needs the whole body in memory; this bounds it."""
    first_byte_timeout_seconds: float = 10
    """From a new connection to its first byte; later it is closed."""
    headers_timeout_seconds: float = 10
    """From the first byte of a request to the end of its headers; later: 408."""
    request_timeout_seconds: float = 120
    """From the first byte of a request to the end of its body, admission included; later: 408. Time for 32 MiB at
    2.2 Mbit/s."""
    stream_first_byte_seconds: float = 300
    """Longest time until an engine's first byte of a stream; then another replica gets the request, and the silent one
    is a failure that counts for its ejection. Longer than any prompt takes that an engine computes: its request must
    not be computed again elsewhere. An answer that is not a stream has its first byte at its end, so no limit."""
    idle_timeout_seconds: float = 600
    """Longest time until an engine's first byte, and between two bytes: the timeout of OpenAI's own clients. The whole
    answer has no limit."""
    cors_origins: tuple[str, ...] = ()
    """Origins of pages that may call the gateway from browsers, `https://app.example`; `*`: all."""
    traces: TraceSettings | None = None
    """Where spans of requests go; None: no traces."""
    trusted_hops: int = 0
    """Proxies in front of the gateway whose `x-forwarded-for` counts: the client's address is that many from its end.
    0: the address of the connection."""
    failures_per_second: int = 10
    """Wrong keys from one address (IPv6: one /64) that a worker has checked in a second; more are answered 429 at once.
    Keys that were valid in the last 10 minutes pass. 0: no limit."""
    connections_per_address: int = 10_000
    """Open connections from one address (IPv6: one /64), of all workers; more are closed. By default half of all that
    Envoy takes. 0, or behind proxies (`trusted_hops`): no limit."""
    long_body_bytes: int = 512 * 1024 * 1024
    """Bytes of bodies of 512 KiB and more that are held at once, until their answers begin; of these a key may hold a
    quarter and an address a half. More are answered 429. 0: no limit."""
    http2_streams_limit: int = 100
    """Requests in flight on one HTTP/2 connection; more wait in the client."""

    @property
    def starts_path(self) -> str:
        """File that gets a line for each lease, and for each request before it reaches an engine."""
        return f"{self.usage_log_path}.starts"
