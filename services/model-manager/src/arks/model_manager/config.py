"""Settings of model-manager, prefix ARKS_."""

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from arks.kit.kube.pod_defaults import NO_DEFAULTS, PodDefaults
from arks.kit.settings import Settings as KitSettings
from arks.model_manager.domain.garbage import HIGH_PERCENT, LOW_PERCENT, Watermarks
from arks.model_manager.domain.request import Limits


class Settings(KitSettings):
    hub_endpoint: str = Field(default="https://huggingface.co", pattern=r"^https?://[^\s/?#]+[^\s?#]*$")
    """Hub of models that name no endpoint."""
    max_downloads: int = Field(default=2, ge=1, le=64)
    """Downloads (and checks of files) at once. Further ones wait: more would only share the same line and disk."""
    download_connections: int = Field(default=4, ge=1, le=64)
    """Streams of one download at once: parts of large files, or several small ones."""
    download_bytes_per_second: int | None = Field(default=None, ge=1024)
    """Most that one download reads of its source, over all its streams; None: as fast as it goes."""
    check_seconds: float = Field(default=15.0, gt=0)
    """Interval of checks of a ready model's files, by name and size only."""
    progress_seconds: float = Field(default=0.5, gt=0)
    """Shortest time between two writes of a download's progress to status."""
    progress_event_seconds: float = Field(default=1.0, gt=0)
    """Shortest time between two model.progress events."""
    disk_reserve_bytes: int = Field(default=256 * 1024 * 1024, ge=0)
    """Space that a download keeps free: the bus and the ledger are on the same disk."""
    store_high_percent: float = Field(default=HIGH_PERCENT, ge=0, le=100)
    """Content that no model uses is kept, in case a model needs it again, until the disk is fuller than this."""
    store_low_percent: float = Field(default=LOW_PERCENT, ge=0, le=100)
    """Then the content that has been unused for longest is deleted until the disk is no fuller than this."""
    silence_seconds: float = Field(default=60.0, gt=0)
    """A download process without a report for this long is killed and restarted; it reports every few seconds."""
    worker_image: str = Field(default="", validation_alias=AliasChoices("ARKS_WORKER_IMAGE", "ARKS_SCRIPTS_IMAGE"))
    """Kubernetes: image of download workers, which has to be this service's own. The second name is an old one."""
    worker_user: int | None = Field(default=None, ge=0)
    """Kubernetes: user and group of workers of models that name none; None: the platform or the image chooses."""
    pod_defaults: PodDefaults = NO_DEFAULTS
    """Kubernetes: what download workers have unless their model's spec sets it, as JSON."""
    engine_pod_defaults: PodDefaults = NO_DEFAULTS
    """Kubernetes: app-deployer's `pod_defaults`: which nodes engines use, so that a volume that is bound where the
    download runs is within their reach."""
    node_cache_key_file: Path | None = None
    """Kubernetes: file with the key from which agents' keys are derived; None: nodes keep no copies of models."""
    node_cache_dir: str = Field(default="/var/lib/arks-node-cache", pattern=r"^/[A-Za-z0-9._/-]+$")
    """Kubernetes: the agents' directory on each node."""
    node_cache_agents: str = "app.kubernetes.io/component=node-cache"
    """Kubernetes: label selector of the agents' pods, in the namespace of the release."""
    node_cache_seconds: float = Field(default=5.0, gt=0)
    """Kubernetes: time between two lists of copies that each agent gets, and between two looks at their states."""
    node_cache_export_port: int = Field(default=8095, ge=1, le=65535)
    """Kubernetes: port of the pods that serve a PVC to agents."""
    poll_seconds: float = Field(default=2.0, gt=0)
    """Kubernetes: polling interval of running workers' logs."""
    claim_look_seconds: float = Field(default=60.0, gt=0)
    """Kubernetes: polling interval of each PVC that Arks did not create; the others are watched."""

    @model_validator(mode="after")
    def _ordered(self) -> "Settings":
        self.limits()
        return self

    def limits(self) -> Limits:
        """Of every download. Raises ValueError."""
        return Limits(
            self.download_connections,
            self.download_bytes_per_second,
            self.disk_reserve_bytes,
            Watermarks(self.store_high_percent, self.store_low_percent),
        )


class NodeCacheSettings(BaseSettings):
    """Of the agent of a node, prefix ARKS_."""

    model_config = SettingsConfigDict(env_prefix="ARKS_", extra="ignore", frozen=True)

    node_cache_dir: Path = Path("/var/lib/arks-node-cache")
    """On the node's local disk, and nothing but copies of models in it."""
    node_cache_key_file: Path | None = None
    """File with the key of the installation, from which those of namespaces are derived. Required."""
    node_cache_host: str = "127.0.0.1"
    node_cache_port: int = Field(default=8095, ge=0, le=65535)
    node_cache_connections: int = Field(default=4, ge=1, le=64)
    """Streams of a fill at once."""
    node_cache_bytes_per_second: int | None = Field(default=None, ge=1024)
    """Most that a fill reads, over all its streams, so that engines keep their share of the line; None: no limit."""
    node_cache_high_percent: float = Field(default=80.0, ge=0, le=100)
    """No fill makes the disk fuller than this: the kubelet evicts pods from a disk with less than 10 or 15 % free."""
    node_cache_low_percent: float = Field(default=70.0, ge=0, le=100)
    """Content that no copy uses is deleted when the disk is fuller than the first, until it is no fuller than this."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _ordered(self) -> "NodeCacheSettings":
        self.marks()
        return self

    def marks(self) -> Watermarks:
        """Raises ValueError."""
        return Watermarks(self.node_cache_high_percent, self.node_cache_low_percent)


class ExportSettings(BaseSettings):
    """Of the export of a PVC, prefix ARKS_. model-manager sets them."""

    model_config = SettingsConfigDict(env_prefix="ARKS_", extra="ignore", frozen=True)

    export_namespace: str
    export_model: str
    export_path: str
    """Directory of the model."""
    export_key: str = Field(repr=False)
    """Of the namespace."""
    export_host: str = "0.0.0.0"  # noqa: S104  # agents are on other nodes
    export_port: int = Field(default=8095, ge=0, le=65535)
