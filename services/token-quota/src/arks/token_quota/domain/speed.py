"""What an engine has made of an answer that its client did not wait for.

An answer in JSON arrives as a whole. If its client hangs up before, the engine reports nothing: the only measure is the
time until then, at the speed of the endpoint's last answers. What the gateway itself joins from a stream, it counts.
"""

from typing import Final

PART: Final = 8
"""A new answer moves the speed by an eighth of the difference."""
MAX_ENDPOINTS: Final = 10_000
"""More are forgotten, oldest first: their next answers are measured again."""


class Speeds:
    """Completion tokens a millisecond of whole answers, by endpoint."""

    def __init__(self) -> None:
        self._speeds: dict[tuple[str, str], float] = {}

    def measure(self, namespace: str, endpoint: str, completion_tokens: int, duration_milliseconds: int) -> None:
        key, speed = (namespace, endpoint), completion_tokens / max(1, duration_milliseconds)
        known = self._speeds.get(key)
        if known is None and len(self._speeds) >= MAX_ENDPOINTS:
            del self._speeds[next(iter(self._speeds))]
        self._speeds[key] = speed if known is None else known + (speed - known) / PART

    def made(self, namespace: str, endpoint: str, duration_milliseconds: int, most_tokens: int) -> int:
        """Tokens made in that time, at most those reserved; 0 while no answer of the endpoint is known."""
        speed = self._speeds.get((namespace, endpoint), 0.0)
        return min(most_tokens, int(speed * duration_milliseconds))
