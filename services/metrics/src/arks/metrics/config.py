"""Settings of metrics. Everything that a person may want to change has its unit and its reason here."""

from pydantic import Field

from arks.kit.settings import Settings as KitSettings


class Settings(KitSettings):
    load_tick_seconds: float = Field(default=0.2, gt=0, le=0.25)
    """How often each replica is read and each application reported. At most 0.25: routing is promised 4 Hz."""
    load_late_seconds: float = Field(default=0.6, gt=0)
    """An answer longer under way makes the replica a problem: a hung engine is known within a second."""
    load_read_timeout_seconds: float = Field(default=5.0, gt=0)
    """When a question is given up. Longer than late: an engine that is only slow need not be asked again and again."""
    load_page_limit_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)
    """Real pages have about 100 KB; what is larger is no metrics page."""
    load_concurrent_reads: int = Field(default=64, ge=1)
    load_concurrent_silent_reads: int = Field(default=16, ge=1)
    """Replicas that failed last time wait for each other here, not in the way of those that answer."""
    load_rate_window_seconds: float = Field(default=5.0, gt=1)
    """Tokens a second are of this time; engines that count when a request ends need some seconds to look smooth."""
    load_drain_window_seconds: float = Field(default=30.0, gt=1)
    """Finished requests a second are of this much busy time: long enough for generations of several seconds."""
    gpu_interval_seconds: float = Field(default=1.0, gt=0)
    """How often NVML is asked, where there is a GPU. Its counters change about that often."""
