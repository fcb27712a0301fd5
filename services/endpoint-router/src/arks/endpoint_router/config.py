"""Settings of endpoint-router, from the environment (prefix ARKS_)."""

from pathlib import Path

from pydantic import Field

from arks.kit.settings import Settings as KitSettings


class Settings(KitSettings):
    xds_host: str = "127.0.0.1"
    """Where Envoys ask for their configuration. Plain text and without a key: loopback, or a network of their own."""
    xds_port: int = Field(default=18000, ge=0, le=65535)
    """0 picks a free one, which the log names."""
    gateway_host: str = "127.0.0.1"
    """Address that Envoy listens on for clients."""
    gateway_port: int = Field(default=8080, ge=1, le=65535)
    gateway_certificate_source: Path | None = None
    """Path, on Envoy's machine, of the file that names certificate and key; None: plain HTTP.
    `python -m arks.endpoint_router.programs.bootstrap --certificate DIRECTORY` prints the file."""
    envoy_admin_port: int = Field(default=9901, ge=1, le=65535)
    """For the bootstrap file only; the router itself never asks Envoy's admin interface."""
    envoy_stats_port: int | None = Field(default=None, ge=1, le=65535)
    """Where others can read Envoy's own figures, GET /metrics on all addresses; None: nowhere. For the bootstrap."""
    token_quota_host: str = "127.0.0.1"  # noqa: S105  # an address
    """Admission, as Envoy reaches it: an address or a DNS name."""
    token_quota_port: int = Field(default=8090, ge=1, le=65535)
    usage_log: Path = Path("usage.log")
    """The file into which Envoy writes a line a granted request, for the usage shipper."""
    envoy_heap_bytes: int = Field(default=2 * 1024**3, ge=64 * 1024**2)
    """Near this much memory Envoy refuses new requests rather than dying with those under way. For the bootstrap."""
    http_route_namespaces: str = ""
    """Kubernetes: where endpoints with a `gatewayRef` get an HTTPRoute at that Gateway; names with commas between."""
    gateway_service: str = "arks-gateway"
    """Kubernetes: the Service of Envoy, in the release's namespace, that HTTPRoutes lead to."""
    gateway_service_port: int = Field(default=80, ge=1, le=65535)
    hold_seconds: float = Field(default=10.0, ge=0)
    """How long ready replicas are still believed in whose fact vanished without saying that they are gone: a bucket
    that was lost is filled again by its owner within seconds, and must not stop traffic."""
