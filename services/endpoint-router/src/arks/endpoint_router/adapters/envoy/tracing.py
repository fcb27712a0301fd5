"""Build what a gateway with traces has: the tracer, with a span's attributes, and the collector."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from arks.endpoint_router.adapters.envoy.clusters import CONNECT_TIMEOUT_SECONDS, one_address
from arks.endpoint_router.adapters.envoy.messages import (
    Cluster,
    OpenTelemetryConfig,
    ParentBasedSamplerConfig,
    TraceIdRatioBasedSamplerConfig,
    UpstreamTlsContext,
    extension,
    message,
    seconds,
)

COLLECTOR = "otlp-collector"
SEND_SECONDS = 5
PATH_CHARACTERS = 20
"""As long as /v1/chat/completions: a query of a rejected request may hold anything."""
METADATA = "arks.trace"
_SAMPLERS = "envoy.tracers.opentelemetry.samplers"
ATTRIBUTES: Mapping[str, str] = {
    "gen_ai.operation.name": "operation",
    "gen_ai.request.model": "model",
    "gen_ai.usage.input_tokens": "input",
    "gen_ai.usage.output_tokens": "output",
    "gen_ai.response.time_to_first_chunk": "first",
    "arks.namespace": "namespace",
    "arks.token": "token",
}
"""Attribute of a request's span -> its key in the filter's metadata. `arks.token` is a name, not the key."""


@dataclass(frozen=True, slots=True)
class TraceSettings:
    address: str
    """URL to which spans are posted (OTLP over HTTP)."""
    sampling_percent: float = 100.0
    """Of the requests whose clients leave it to the gateway."""
    follow_clients: bool = True
    """Whether the flag in a request's `traceparent` decides; False: each trace by its id, at `sampling_percent`."""

    @property
    def millionths(self) -> int:
        """How many of a million traces are sampled by their ids."""
        return round(self.sampling_percent * 10_000)

    @property
    def sampling(self) -> str:
        """Return the rule in the filter's words (`sampling.rs`)."""
        return f"{self.millionths} follow" if self.follow_clients else f"{self.millionths}"


def manager_tracing(settings: TraceSettings | None) -> dict[str, Any]:
    """Fields of the connection manager. Envoy writes attributes as texts, numbers too."""
    if settings is None:
        return {}
    uri = {"uri": settings.address, "cluster": COLLECTOR, "timeout": seconds(SEND_SECONDS)}
    provider = extension(
        OpenTelemetryConfig,
        service_name="arks-gateway",
        http_service={"http_uri": uri},
        sampler=_sampler(settings),
    )
    return {
        "tracing": {
            "client_sampling": {"value": 0},
            # The sampler decides: Envoy's own percentage knows neither the client's flag nor the trace's id.
            "random_sampling": {"value": 100},
            "max_path_tag_length": PATH_CHARACTERS,
            "custom_tags": [_tag(name, key) for name, key in ATTRIBUTES.items()],
            "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": provider},
        }
    }


def collector_cluster(settings: TraceSettings) -> Cluster:
    """Return the cluster of the collector."""
    url = urlsplit(settings.address)
    host, is_tls = url.hostname or "", url.scheme == "https"
    tls = {"name": "tls", "typed_config": extension(UpstreamTlsContext, sni=host)}
    return message(
        Cluster,
        {
            "name": COLLECTOR,
            "type": "STRICT_DNS",
            "connect_timeout": seconds(CONNECT_TIMEOUT_SECONDS),
            "load_assignment": one_address(COLLECTOR, host, url.port or (443 if is_tls else 80)),
            **({"transport_socket": tls} if is_tls else {}),
        },
    )


def _sampler(settings: TraceSettings) -> dict[str, Any]:
    fraction = {"numerator": settings.millionths, "denominator": "MILLION"}
    by_id = extension(TraceIdRatioBasedSamplerConfig, sampling_percentage=fraction)
    sampler = {"name": f"{_SAMPLERS}.trace_id_ratio_based", "typed_config": by_id}
    if not settings.follow_clients:
        return sampler
    by_parent = extension(ParentBasedSamplerConfig, wrapped_sampler=sampler)
    return {"name": f"{_SAMPLERS}.parent_based", "typed_config": by_parent}


def _tag(name: str, key: str) -> dict[str, Any]:
    path = {"key": METADATA, "path": [{"key": key}]}
    return {"tag": name, "metadata": {"kind": {"request": {}}, "metadata_key": path}}
