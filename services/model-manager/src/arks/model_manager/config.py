"""Settings of model-manager, prefix ARKS_."""

from pydantic import AliasChoices, Field

from arks.kit.settings import Settings as KitSettings


class Settings(KitSettings):
    hub_endpoint: str = Field(default="https://huggingface.co", pattern=r"^https?://[^\s/?#]+[^\s?#]*$")
    """Hub of models that name no endpoint of their own."""
    max_downloads: int = Field(default=2, ge=1, le=64)
    """Downloads (and checks of files) at once; further ones wait: more only share the same line and disk."""
    download_connections: int = Field(default=4, ge=1, le=64)
    """Files of one model fetched at once."""
    check_seconds: float = Field(default=15.0, gt=0)
    """How often the files of a ready model are looked at (sizes only)."""
    progress_seconds: float = Field(default=0.5, gt=0)
    """Shortest time between two writes of a download's progress to status."""
    progress_event_seconds: float = Field(default=1.0, gt=0)
    """Shortest time between two model.progress events."""
    disk_reserve_bytes: int = Field(default=256 * 1024 * 1024, ge=0)
    """Space that a download leaves free: the bus and the ledger live on the same disk."""
    silence_seconds: float = Field(default=60.0, gt=0)
    """A download process that reports nothing for so long is ended and started again; it reports every few seconds."""
    worker_image: str = Field(default="", validation_alias=AliasChoices("ARKS_WORKER_IMAGE", "ARKS_SCRIPTS_IMAGE"))
    """Kubernetes: image of download workers, which has to be this service's own. The second name is an old one."""
    worker_user: int | None = Field(default=None, ge=0)
    """Kubernetes: user and group of workers, where the model names none; None: the platform or the image chooses."""
    poll_seconds: float = Field(default=2.0, gt=0)
    """Kubernetes: between two looks at the logs of running workers."""
    claim_look_seconds: float = Field(default=60.0, gt=0)
    """Kubernetes: between two looks at each claim that Arks did not make; the others are watched."""
