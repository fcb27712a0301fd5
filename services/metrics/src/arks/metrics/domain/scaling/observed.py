"""What is measured of an application at one moment."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Observed:
    """Sums over the ready replicas. None: not measured, which is not 0."""

    at: float
    """Monotonic seconds."""
    ready: int
    starting: int = 0
    in_flight: float | None = None
    """Requests inside the engines: running and waiting."""
    waiting: float | None = None
    running_at_a_queue: float | None = None
    """Mean of the replicas in which requests wait; None while none does."""
    slots: int = 0
    """As configured; 0 while those of a replica are unknown."""
    slots_reserved: bool = True
    """Whether all slots can be in use at once; otherwise a full KV cache may allow fewer requests."""
    kv_cache_ratio: float | None = None
    tokens_per_second: float | None = None
    """As the engines count them."""
    finished: float = 0.0
    """Requests that an engine has answered, since any moment, as the gateway counts them."""
    tokens: float = 0.0
    """Prompt and generated tokens of those."""
    refused: float = 0.0
    """Requests that found no replica, since any moment."""
    held: int = 0
    """Requests that wait at the gateway for the first replica."""
    held_seconds: float = 0.0
    """How long some have waited without a break."""
    first_token_seconds: float | None = None
    """95th percentile of the last minute, as is `inter_token_seconds`."""
    inter_token_seconds: float | None = None
    doubt: str = ""
    """Why the engines' signals are not believed; empty if they are."""
