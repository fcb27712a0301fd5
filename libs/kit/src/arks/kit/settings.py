"""Settings that every service has. Each service adds its own in its `config.py` by subclassing."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read from the environment, prefix ARKS_ (so `nats_url` is ARKS_NATS_URL)."""

    model_config = SettingsConfigDict(env_prefix="ARKS_", extra="ignore", frozen=True)

    nats_url: str = "nats://127.0.0.1:4222"
    """Or several servers of one cluster, separated by commas; `tls://` requires TLS."""
    nats_token_file: Path | None = None
    """File with the token of the NATS server; None if it requires none."""
    nats_user: str | None = None
    nats_password_file: Path | None = None
    nats_credentials_file: Path | None = None
    """File with a user's JWT and seed (.creds)."""
    nats_nkey_file: Path | None = None
    """File with the seed of an nkey."""
    nats_ca_file: Path | None = None
    """Authorities that may have signed the server's certificate; None: those of the system."""
    nats_certificate_file: Path | None = None
    """The client's certificate; None if the server requires none."""
    nats_certificate_key_file: Path | None = None
    state_dir: Path = Path(".arks")
    """One machine: the directory of secrets, models, logs and offsets."""
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, ge=0, le=65535)
    """Port of /healthz, /readyz and /metrics; 0 picks a free port and logs it."""
    platform: Literal["local", "kubernetes"] = "local"
    """Which store has the resources: the bucket arks-resources or the API server."""
    kube_account_dir: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    """Kubernetes: the directory of the service account's token and certificate. Without them a kubeconfig is used."""
    release_namespace: str = "default"
    """Kubernetes: the namespace in which Arks runs and has its Leases."""
    watch_namespace: str | None = None
    """Kubernetes: the only namespace to watch; None: all."""
    watch_namespace_selector: str | None = None
    """Kubernetes: serve only namespaces with these labels, as `kubectl get namespaces -l` reads them; None: all. Needs
    the right to list and watch namespaces, and has no use beside `watch_namespace`."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    drain_seconds: float = Field(default=4.0, ge=0)
    """How long running work may take to end at shutdown; less than 5 s, after which the process must have ended."""
    outbox_messages: int = Field(default=10_000, ge=1)
    """Events kept while NATS is away; beyond it the oldest are dropped and counted."""
    nice: int = Field(default=0, ge=0, le=19)
    """One machine: by how much the program, once it is ready, leaves the processor to others, as nice(1) counts."""
    otlp_endpoint: str | None = None
    """OpenTelemetry collector (OTLP over HTTP); None: no traces."""


def read_secret(file: Path | None) -> str | None:
    """Raises OSError, and ValueError for an empty file: an empty secret would let every caller pass."""
    if file is None:
        return None
    if secret := file.read_text().strip():
        return secret
    raise ValueError(f"{file} is empty")
