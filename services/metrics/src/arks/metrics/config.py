"""Settings of metrics. Everything that a person may want to change has its unit and its reason here."""

from pydantic import Field

from arks.kit.settings import Settings as KitSettings


class Settings(KitSettings):
    load_tick_seconds: float = Field(default=0.2, gt=0, le=0.25)
    """How often each replica is read and each application reported. At most 0.25: routing is promised 4 Hz."""
    load_late_seconds: float = Field(default=0.6, gt=0)
    """An unanswered query of this age makes the replica a problem: a hung engine is known within a second."""
    load_read_timeout_seconds: float = Field(default=5.0, gt=0)
    """Timeout of a query. Longer than late, because a slow engine does not need repeated queries."""
    load_page_limit_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)
    """Real pages have about 100 KB; what is larger is no metrics page."""
    load_concurrent_reads: int = Field(default=64, ge=1)
    load_concurrent_silent_reads: int = Field(default=16, ge=1)
    """Separate slots for replicas that failed last time, so that they do not delay those that answer."""
    load_rate_window_seconds: float = Field(default=5.0, gt=1)
    """Tokens a second are of this time; engines that count when a request ends need some seconds to look smooth."""
    load_drain_window_seconds: float = Field(default=30.0, gt=1)
    """Finished requests a second are of this much busy time: long enough for generations of several seconds."""
    scaling_interval_seconds: float = Field(default=5.0, gt=0, le=15)
    """Between two decisions of an autoscaler: a crowd is seen within it. Longer with more than 400 autoscalers."""
    horizontal_pod_autoscalers: bool = False
    """Kubernetes: each autoscaler acts through a HorizontalPodAutoscaler, which reads the wanted number from us."""
    external_metrics_host: str = "127.0.0.1"
    external_metrics_port: int = Field(default=6443, ge=0, le=65535)
    """Port of the external metrics API; only the API server connects to it."""
    external_metrics_service: str = Field(default="arks-metrics", max_length=63)
    """Name of the Service in the release's namespace that leads to it: our certificate has it."""
    gpu_interval_seconds: float = Field(default=1.0, gt=0)
    """Interval of polling NVML, if there is a GPU. Its counters change about that often."""
