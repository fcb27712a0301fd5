"""What an operator may change about the gateway, each with its unit, default and reason."""

from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    usage_log_path: str
    """The file that gets one line a granted request; the shipper follows it."""
    address: str = "127.0.0.1"
    port: int = 8080
    certificate_source: PurePath | None = None
    """File on Envoy's machine that says where certificate and key lie (`certificate_source`). None: plain HTTP."""
    body_limit_bytes: int = 32 * 1024 * 1024
    """A longer request body is answered 413. The filter needs the whole body in memory: this bounds its share."""
    headers_timeout_seconds: float = 10
    """From the first byte of a request to the end of its headers; later: 408."""
    request_timeout_seconds: float = 120
    """From the first byte of a request to the end of its body, admission included; later: 408. Time for 32 MiB at
    2.2 Mbit/s."""
    idle_timeout_seconds: float = 600
    """How long an engine may take to its first byte, and between two: the timeout of OpenAI's own clients. There is no
    limit on the whole answer."""
    http2_streams_limit: int = 100
    """Requests under way on one HTTP/2 connection; more wait in the client."""
