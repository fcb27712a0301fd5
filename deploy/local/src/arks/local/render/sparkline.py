"""A line of bars for the newest values of a series. Pure."""

from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """The last `width` values, the highest of them as a full bar. All zero: the lowest bars."""
    shown = values[-width:] if width > 0 else []
    highest = max(shown, default=0.0)
    if highest <= 0:
        return _BARS[0] * len(shown)
    return "".join(_BARS[round(max(0.0, value) / highest * (len(_BARS) - 1))] for value in shown)


def bar(ratio: float | None, width: int) -> str:
    """A bar that is full at 1; spaces if the ratio is unknown."""
    if ratio is None:
        return " " * width
    full = round(min(1.0, max(0.0, ratio)) * width)
    return "█" * full + "░" * (width - full)
