"""Settings of openai-proxy. Everything that a person may want to change has its unit and its reason here."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from arks.kit.hosts import targets_of


class Settings(BaseSettings):
    """Read from the environment. The proxy needs no NATS and no store, so it has none of the kit's settings."""

    model_config = SettingsConfigDict(env_prefix="ARKS_", extra="ignore", frozen=True)

    grpc_host: str = Field(default="0.0.0.0", validation_alias="HTTP_FORWARD_GRPC_HOST")  # noqa: S104  # the page's default
    """Host of the engine; the default is this machine. Several are separated by commas, each with a port or not; a name
    may have several addresses. All must serve the same model."""
    grpc_port: int = Field(default=62000, ge=1, le=65535, validation_alias="HTTP_FORWARD_GRPC_PORT")
    request_timeout_seconds: float = Field(default=600.0, gt=0)
    """Deadline of a whole generation. Envoy ends requests earlier where it is configured to."""
    body_bytes_limit: int = Field(default=16 * 1024 * 1024, ge=1024)
    """A longer body is rejected with 413 before it is parsed."""
    otlp_endpoint: str | None = None
    """OpenTelemetry collector (OTLP over HTTP); None: no traces."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def targets(self) -> list[str]:
        """host:port of each engine."""
        return targets_of(self.grpc_host, self.grpc_port)
