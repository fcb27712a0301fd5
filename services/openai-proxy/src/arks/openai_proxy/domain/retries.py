"""Which failed calls are repeated, and when."""

MOST_ATTEMPTS = 3
_PAUSES_SECONDS = (0.05, 0.2)
"""An engine that restarts its server, or a connection that was cut: longer outages are the client's to retry."""


def pause_seconds(status: str, attempt: int) -> float | None:
    """How long to wait before the next attempt; None: report the error. `attempt` counts from 1.

    Only UNAVAILABLE: the engine has not begun to work, so a repetition makes no second generation.
    """
    if status != "UNAVAILABLE" or attempt >= MOST_ATTEMPTS:
        return None
    return _PAUSES_SECONDS[attempt - 1]
