"""Settings of token-quota, of the usage meter and of the usage shipper, from the environment (prefix ARKS_)."""

from pathlib import Path
from typing import Any

from pydantic import Field

from arks.kit.settings import Settings
from arks.token_quota.domain.holding import Bounds


class StoreSettings(Settings):
    """Redis and the ledger, which token-quota and the usage meter share."""

    redis_url: str = "redis://127.0.0.1:6379"
    """`rediss://` for TLS."""
    redis_user: str | None = None
    """None: the default user."""
    redis_password_file: Path | None = None
    redis_ca_file: Path | None = None
    """Authorities that may have signed the server's certificate; None: those of the system."""
    redis_certificate_file: Path | None = None
    """The client's certificate; None if the server requires none."""
    redis_certificate_key_file: Path | None = None
    redis_timeout_seconds: float = Field(default=0.5, gt=0)
    """Envoy waits 2 s for an answer: a Redis that is slower than this counts as down and the failure policy decides."""
    database_url: str | None = None
    """SQLAlchemy's address of the ledger (sqlite+aiosqlite, postgresql+asyncpg); None: ledger.db in the state
    directory.
    """

    @property
    def ledger_url(self) -> str:
        return self.database_url or f"sqlite+aiosqlite:///{self.state_dir}/ledger.db"

    def redis_arguments(self) -> dict[str, Any]:
        """Arguments of the adapter for Redis. Raises OSError if the password cannot be read."""
        return {
            "url": self.redis_url,
            "password": self.redis_password_file.read_text().strip() if self.redis_password_file else None,
            "timeout_seconds": self.redis_timeout_seconds,
            "login": self._redis_login(),
        }

    def _redis_login(self) -> dict[str, str]:
        """Arguments of the client's connection, for its user and TLS."""
        files = {
            "ssl_ca_certs": self.redis_ca_file,
            "ssl_certfile": self.redis_certificate_file,
            "ssl_keyfile": self.redis_certificate_key_file,
        }
        tls = {name: str(path) for name, path in files.items() if path and self.redis_url.startswith("rediss:")}
        return tls | ({"username": self.redis_user} if self.redis_user else {})


class TokenQuotaSettings(StoreSettings):
    api_host: str = "127.0.0.1"
    """Where /v1/admit, /v1/key, /v1/models and /v1/usage listen. Without tokens they trust every
    client that can connect: keep the address off public networks.
    """
    api_port: int = Field(default=8081, ge=0, le=65535)
    api_socket: Path | None = None
    """Unix socket instead of host and port. Its directory must be closed to other users."""
    gateway_token_file: Path | None = None
    """File with the token that gateways have to present; None: none is needed."""
    gateway_token_required: bool = True
    """False: a gateway without a token is answered too. For the upgrade from a version without tokens."""
    operator_token_file: Path | None = None
    """File with the token that /v1/usage needs (`authorization: Bearer`); None: none is needed."""
    pepper_file: Path | None = None
    """Secret that keys are hashed with, mode 0600; None: `pepper` in the state directory. Every replica needs the
    same one.
    """
    default_completion_tokens: int = Field(default=512, ge=1)
    """Reserved for a request without max_tokens: about the length of a chat answer. More makes limits bite earlier
    than they must, less lets more tokens through before they bite.
    """
    key_reserved_seconds: float = Field(default=86_400.0, ge=0)
    """How long a key that no token of its namespace has any more is kept from other namespaces, whose tokens would get
    its clients and their prompts. 0: not at all. A day covers a deletion by mistake and a slow change of clients.
    """
    held_seconds: float = Field(default=300.0, ge=0, le=570)
    """The longest that a request waits at the gateway for the first replica of an endpoint at zero; 0: not at all. One
    whose measured start takes longer is refused at once. Less than the 10 minutes after which Envoy ends idle streams.
    """
    held_requests_per_endpoint: int = Field(default=512, ge=0)
    """Requests beyond get 503 with `Retry-After`. Each holds its body and two connections of Envoy."""
    held_requests_per_namespace: int = Field(default=768, ge=0)
    held_requests: int = Field(default=2048, ge=0, le=3072)
    """Of all namespaces, at one replica of token-quota."""
    quota_status_seconds: float = Field(default=1.0, gt=0)
    """How often usage is written into the status of an ArksQuota; of more than 15 quotas less often, so that all
    together cost no more than 15 sums and writes a second."""

    @property
    def held_bounds(self) -> Bounds:
        return Bounds(self.held_requests_per_endpoint, self.held_requests_per_namespace, self.held_requests)

    @property
    def pepper_path(self) -> Path:
        return self.pepper_file or self.state_dir / "pepper"

    def pepper(self) -> bytes:
        """Raises OSError, and ValueError for an empty file: hashes without a pepper could be guessed offline."""
        pepper = self.pepper_path.read_bytes().strip()
        if not pepper:
            raise ValueError(f"{self.pepper_path} is empty: it has to hold the secret that keys are hashed with")
        return pepper


class MeterSettings(StoreSettings):
    reservation_seconds: float = Field(default=600.0, gt=0)
    """After this time without a usage record the reservation is charged in full; longer than almost every answer
    takes.
    """
    sweep_seconds: float = Field(default=5.0, gt=0)
    """Interval of the sweep for expired reservations, and of the search for entries that the counters lack."""
    entries_keep_days: int = Field(default=90, ge=31)
    """Single requests older than this leave the ledger; sums by day stay forever. Longer than the usage stream
    keeps its records, because a repeated record is recognised by its entry.
    """


class ShipperSettings(Settings):
    gateway: str = Field(default="gateway", pattern="^[0-9A-Za-z._-]{1,253}$")
    """Name of the gateway in usage batches. Envoy's filter reads it from the same variable: unused amounts of a lease
    return only if both are equal, and no two gateways may share it.
    """
    usage_log: Path | None = None
    """The file that the gateway's filter writes; None: usage/usage.log in the state directory."""
    envoy_admin_host: str = "127.0.0.1"
    envoy_admin_port: int = Field(default=9901, ge=1, le=65535)
    """Where Envoy takes the request to reopen the log after a rotation."""
    envoy_admin_socket: Path | None = None
    """Unix socket of Envoy's admin interface instead of host and port."""
    usage_log_rotate_bytes: int = Field(default=64 * 2**20, ge=4096)
    """About 400,000 requests."""
    usage_log_max_total_bytes: int = Field(default=4 * 2**30, ge=4096)
    """Of the usage log and the file of starts together: room for about 14 million requests while NATS is away. Beyond
    it the oldest lines are dropped, loudly; their requests are charged their reservations, or not at all.
    """

    @property
    def usage_log_path(self) -> Path:
        return self.usage_log or self.state_dir / "usage" / "usage.log"
