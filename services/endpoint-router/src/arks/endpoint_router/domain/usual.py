"""How much readings of a replica's pace usually differ from their mean, so that an unusual one is recognised."""

import math

from msgspec import Struct

USUAL_SPREADS = 3.0
"""A reading that differs by this many times the usual difference is unusual."""
LEAST_READINGS = 10
"""The usual difference is known after this many readings."""
GROWING_READINGS, SHRINKING_READINGS = 10, 100
"""It follows greater differences within about the first number of readings and smaller ones within the second. So it is
near the greatest of the usual ones, and other requests than before do not look like another engine for long."""


class Usual(Struct, frozen=True, gc=False):
    """Differences are logarithms of a reading's pace divided by the mean."""

    last: float = 0.0
    """The difference of the last reading."""
    spread: float = 0.0
    """The usual absolute difference."""
    readings: int = 0

    def after(self, difference: float, *, counts: bool) -> "Usual":
        """Add a reading. `counts`: it has enough work to show how much readings differ."""
        if not counts:
            return Usual(difference, self.spread, self.readings)
        more = abs(difference) - self.spread
        count = min(self.readings + 1, GROWING_READINGS if more > 0 else SHRINKING_READINGS)
        return Usual(difference, self.spread + more / count, self.readings + 1)

    def is_exceeded(self, difference: float, least: float) -> bool:
        """Return whether this reading is unusual, and the last one was in the same direction.

        `least`: a smaller difference is none. Half of it is enough for the reading before: the change may have come in
        the middle of it.
        """
        if self.readings < LEAST_READINGS:
            return False
        wanted = max(least, USUAL_SPREADS * self.spread)
        return abs(difference) >= wanted and math.copysign(1.0, difference) * self.last >= wanted / 2
