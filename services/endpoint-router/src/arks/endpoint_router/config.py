"""Settings of endpoint-router, from the environment (prefix ARKS_)."""

from pathlib import Path

from pydantic import Field

from arks.kit.settings import Settings as KitSettings


class Settings(KitSettings):
    xds_host: str = "127.0.0.1"
    """Address of the xDS server for Envoys. Plain text: loopback, or a separate network."""
    xds_port: int = Field(default=18000, ge=0, le=65535)
    """0 picks a free port, which the log names."""
    xds_socket: Path | None = None
    """Unix socket of the xDS server instead of host and port. Its directory must be closed to other users."""
    gateway_token_file: Path | None = None
    """File with the token that Envoys have to present for their configuration; None: none is needed."""
    gateway_token_required: bool = True
    """False: an Envoy without a token is served too. For the upgrade from a version without tokens."""
    operator_token_file: Path | None = None
    """File with the token that /explain needs (`authorization: Bearer`); None: none is needed."""
    gateway_host: str = "127.0.0.1"
    """Address on which Envoy listens for clients."""
    gateway_port: int = Field(default=8080, ge=1, le=65535)
    gateway_certificate_source: Path | None = None
    """Path, on Envoy's machine, of the file that names certificate and key; None: plain HTTP.
    `python -m arks.endpoint_router.programs.bootstrap --certificate DIRECTORY` prints the file."""
    gateway_cors_origins: str = Field(default="", pattern=r"^(\*|(https?://[^,/\s]+(,https?://[^,/\s]+)*)?)$")
    """Origins of pages that may call the gateway from browsers, separated by commas (`https://app.example`); `*`: all;
    empty: none. A page still needs a key."""
    gateway_trusted_hops: int = Field(default=0, ge=0, le=16)
    """Proxies in front of the gateway that append to `x-forwarded-for`: the client's address, for the limits below, is
    that many from its end. 0: the address of the connection. With more than there are, clients can claim addresses."""
    gateway_failures_per_second: int = Field(default=10, ge=0, le=1000)
    """Wrong keys from one address (IPv6: one /64) that each worker of Envoy has checked in a second; more get 429. Keys
    that were valid in the last 10 minutes pass, so clients that share an address keep working. 0: no limit."""
    gateway_connections_per_address: int = Field(default=10_000, ge=0)
    """Open connections from one address (IPv6: one /64) at each Envoy, which takes 20,000 in all; more are closed. Set
    it lower where clients reach the gateway directly. No limit with 0, or with `gateway_trusted_hops`, because then all
    connections have the addresses of the proxies."""
    gateway_long_body_bytes: int | None = Field(default=None, ge=0)
    """Bytes of request bodies of 512 KiB and more that Envoy holds at once, until their answers begin. A key may hold a
    quarter of them and an address a half; more are answered 429. None: a quarter of `envoy_heap_bytes`. 0: no limit."""
    stream_first_byte_seconds: float = Field(default=300.0, gt=0)
    """After so long without the first byte of a stream, another replica is tried. Set it above the time of the longest
    prompt and the longest queue that engines should work off: a request that is tried again is computed again."""
    trace_sampling_percent: float = Field(default=100.0, ge=0, le=100)
    """With `otlp_endpoint`: of the requests without a `traceparent`, how many get a span."""
    trace_follow_clients: bool = True
    """Whether the flag in a client's `traceparent` decides about a span; False: `trace_sampling_percent` of all
    traces, chosen by their ids, so that clients cannot make the gateway send more."""
    envoy_admin_port: int = Field(default=9901, ge=1, le=65535)
    """For the bootstrap file only; the router does not use Envoy's admin interface."""
    envoy_admin_socket: Path | None = None
    """Unix socket of the admin interface instead of the port. For the bootstrap file only."""
    envoy_stats_port: int | None = Field(default=None, ge=1, le=65535)
    """Port, on all addresses, of Envoy's own metrics (GET /metrics); None: not served. For the bootstrap file only."""
    token_quota_host: str = "127.0.0.1"  # noqa: S105  # an address
    """Address or DNS name at which Envoy reaches token-quota for admission."""
    token_quota_socket: Path | None = None
    """Unix socket of token-quota instead of host and port."""
    token_quota_port: int = Field(default=8090, ge=1, le=65535)
    usage_log: Path = Path("usage.log")
    """File, on Envoy's machine, that gets a line for each granted request; the usage shipper reads it."""
    envoy_heap_bytes: int = Field(default=2 * 1024**3, ge=64 * 1024**2)
    """Near this much memory Envoy rejects new requests, so that those in flight survive. For the bootstrap only."""
    http_route_namespaces: str = ""
    """Kubernetes: namespaces, separated by commas, in which endpoints with a `gatewayRef` get an HTTPRoute."""
    http_route_namespace_selector: str = ""
    """Kubernetes: the same by labels of namespaces, as `kubectl get namespaces -l` reads them; beside those named. The
    router then writes the ReferenceGrants, which the chart writes for those named."""
    gateway_service: str = "arks-gateway"
    """Kubernetes: the Service of Envoy, in the release's namespace, that HTTPRoutes lead to."""
    gateway_service_port: int = Field(default=80, ge=1, le=65535)
    hold_seconds: float = Field(default=10.0, ge=0)
    """How long the ready replicas of a vanished fact are kept. A lost bucket is filled again by its owner within
    seconds, and must not stop traffic."""
