"""Settings of app-deployer, from the environment (prefix ARKS_)."""

from pathlib import Path

from pydantic import Field

from arks.app_deployer.domain.launch.profile_set import Images
from arks.kit import settings
from arks.kit.kube.pod_defaults import NO_DEFAULTS, PodDefaults


class Settings(settings.Settings):
    engine_slots: int = Field(default=4, ge=1)
    """Slots of a llama.cpp replica without --parallel. One machine only."""
    probe_seconds: float = Field(default=0.1, gt=0)
    """Pause between two polls of an engine that is not ready yet."""
    health_seconds: float = Field(default=5.0, gt=0)
    """Timeout of /health and /metrics of an engine."""
    answer_seconds: float = Field(default=60.0, gt=0)
    """Timeout of the one-token completion that shows that the model answers."""
    liveness_seconds: float = Field(default=5.0, gt=0)
    """Pause between two polls of a ready engine."""
    hung_seconds: float = Field(default=30.0, gt=0)
    """An engine that does not answer on /health for so long is killed and restarted."""
    start_seconds: float = Field(default=1800.0, gt=0)
    """An engine that is not ready after so long is killed and restarted. Large models load for minutes."""
    grace_seconds: float = Field(default=30.0, ge=0)
    """Longest drain of a replica whose spec has no terminationGracePeriodSeconds."""
    drain_settle_seconds: float = Field(default=0.5, ge=0)
    """Wait after DRAINING is in the fact; the router then sends no new requests to the replica."""
    kill_seconds: float = Field(default=2.0, gt=0)
    """From SIGTERM to SIGKILL of an engine."""
    backoff_first_seconds: float = Field(default=1.0, gt=0)
    """Restart delay after the second failure in a row, doubled with each further one; the first is immediate."""
    backoff_longest_seconds: float = Field(default=60.0, gt=0)
    stable_seconds: float = Field(default=30.0, gt=0)
    """An engine that was ready for so long resets the count of failures."""
    engine_log_bytes: int = Field(default=8 * 2**20, ge=4096)
    """Size limit of an engine's log; one older file is kept."""
    supervisor_pid: int | None = None
    """One machine only: engines end with this process; None: with app-deployer."""

    pod_grace_seconds: float = Field(default=600.0, ge=10)
    """Kubernetes only: as grace_seconds; longer, because an idle pod does not wait for it."""
    room_seconds: float = Field(default=30.0, ge=0)
    """Kubernetes only: how long a new replica may lack a node, quota or volume before old ones stop first."""
    node_seconds: float = Field(default=900.0, ge=0)
    """Kubernetes only: as room_seconds, while an autoscaler makes a node; GPU machines start in 3 to 10 minutes."""
    pod_defaults: PodDefaults = NO_DEFAULTS
    """Kubernetes only: what engines and routers have unless their spec sets it, as JSON. A change replaces them."""
    runtime_profiles: Path | None = None
    """YAML file with runtime profiles, which come before the built-in ones; None: there is none."""
    runtime_default_vllm_image: str | None = None
    """Kubernetes only, as all images here: for specs without runtimeImage. None: the image of the runtime's profile."""
    runtime_default_sglang_image: str | None = None
    runtime_default_dynamo_image: str | None = None
    runtime_default_llamacpp_image: str | None = None
    runtime_default_ark_image: str | None = None
    """Also of prefill and decode."""
    default_sglang_image: str | None = None
    """Of prefill, decode and their router."""
    default_sglang_router_image: str | None = None
    """Of the router alone; None: as default_sglang_image."""
    default_ark_router_image: str | None = None
    """openai-proxy's."""

    def images(self) -> Images:
        return Images(
            vllm=self.runtime_default_vllm_image,
            sglang=self.runtime_default_sglang_image,
            dynamo=self.runtime_default_dynamo_image,
            llamacpp=self.runtime_default_llamacpp_image,
            ark=self.runtime_default_ark_image,
            disaggregated_sglang=self.default_sglang_image,
            disaggregated_ark=self.runtime_default_ark_image,
            sglang_router=self.default_sglang_router_image,
            ark_router=self.default_ark_router_image,
        )
