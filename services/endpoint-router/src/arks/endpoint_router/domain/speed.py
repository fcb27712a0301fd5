"""How fast a slot of a replica works, and when that has changed.

Speed: by Little's law, the work that a replica completes in a second, divided by its requests in flight, is the work
that one slot completes in a second. Unlike the drain rate itself it does not grow with the traffic that the replica is
given, so a replica with little traffic does not look slow and stay that way.

A mean over half a minute is steady enough to compare replicas, and far too slow to notice that one of them now needs
four times as long. So the last work is also kept, and replaces the mean if it differs by more than chance explains.
There are two such tests:

- Of readings: each has the work of a fraction of a second, and it is known how much they usually differ (`usual`).
  An engine that counts tokens as it makes them gives nearly the same pace in every reading, however long its requests
  are: two readings in a row show a change. Where each reading differs (long prompts between short ones, an engine that
  counts when a request ends) this test finds nothing.
- Of requests: batches of a few, 24 requests in all. It needs no regular readings, but as long as these requests take.
"""

import math
from collections.abc import Sequence
from functools import reduce

from msgspec import Struct
from msgspec.structs import replace

from arks.endpoint_router.domain.usual import Usual

SMOOTHING_SECONDS = 30.0
"""Requests differ in length, so rates are noisy: speed is a mean over about this time."""
BATCH_REQUESTS = 4.0
"""Requests in a batch. A replica with its earlier speed again is recognised by one: that speed is not a guess."""
LEAST_WORK = 4.0
"""Tokens, or requests without tokens, in two readings that show the earlier speed; BATCHES times as many for another
one. Below it a reading is one token more or less."""
BATCHES = 6
"""Batches that show a new speed. Where requests have exponential lengths, chance alone makes 24 requests differ from
the mean by CHANGE_FACTOR once in some thousand times."""
CHANGE_FACTOR = 2.5
"""A batch this many times faster or slower than the mean is a change and not noise."""
_CHANGE_DIFFERENCE = math.log(CHANGE_FACTOR)
SETTLED_REQUESTS = 100.0
"""A speed that was measured over fewer requests than this is a step on the way to another one."""
RETURN_FACTOR = 1.5
"""A batch within this factor of the earlier speed is a return to it."""
LEAST_REQUESTS = 4.0
"""A speed is known after this many finished requests."""
LEAST_STREAMED = 3
"""Or after this many readings with tokens only: a slow replica is measured before its first requests end."""
LEAST_RUNNING = 0.02
"""With fewer requests in flight on average, the quotient is meaningless."""


class Work(Struct, frozen=True, gc=False):
    """An amount of work and the slot-seconds that it took. Both fade at the same rate, so their quotient is a mean."""

    seconds: float = 0.0
    slot_seconds: float = 0.0
    amount: float = 0.0

    def after(self, amount: float, slot_seconds: float, seconds: float, fade_seconds: float = math.inf) -> "Work":
        kept = math.exp(-seconds / fade_seconds)
        return Work(kept * self.seconds + seconds, kept * self.slot_seconds + slot_seconds, kept * self.amount + amount)

    @property
    def per_slot(self) -> float | None:
        """Work that one slot completes in a second; None if unknown."""
        measured = self.slot_seconds >= LEAST_RUNNING * self.seconds and self.slot_seconds > 0 and self.amount > 0
        return (self.amount / self.slot_seconds if measured else 0.0) or None  # a tiny quotient is 0 too


class Sample(Struct, frozen=True, gc=False):
    """Work between two readings."""

    seconds: float = 0.0
    slot_seconds: float = 0.0
    tokens: float = 0.0
    requests: float = 0.0


class Speed(Struct, frozen=True, gc=False):
    """The speed of one replica from its counters."""

    finished: float = 0.0
    """Requests since the measurement began."""
    streamed: int = 0
    """Readings in which tokens grew and no request ended: the engine counts tokens as they are made."""
    tokens: Work = Work()
    requests: Work = Work()
    batches: tuple[Sample, ...] = ()
    """The last work, the newest batch last; that one may still grow."""
    earlier: float | None = None
    """Work of a slot in a second before the last change, in the unit of `_pace`."""
    last: Sample = Sample()
    """The work of the last reading."""
    usual: Usual = Usual()

    @property
    def known(self) -> bool:
        return self.finished >= LEAST_REQUESTS or self.streamed >= LEAST_STREAMED

    @property
    def fallen(self) -> bool:
        """Return whether it was much faster before its last change, and may be again."""
        return self.earlier is not None and self._pace is not None and self._pace * RETURN_FACTOR < self.earlier

    def after(self, sample: Sample) -> "Speed":
        before = self._pace
        if not self.known or before is None or sample.slot_seconds <= 0:
            return self._mean(sample, self.batches, self.last, self.usual)
        amount = self._amount(sample)
        difference = _difference(amount / sample.slot_seconds, before)
        batches = self._extended(sample, before)
        if (recent := self._change(before, sample, difference, batches)) is not None:
            settled = self.finished >= SETTLED_REQUESTS or self.earlier is None
            return _restart(recent, earlier=before if settled else self.earlier, usual=self.usual)
        work = max(amount, before * sample.slot_seconds)  # what was done, or would have been at the speed before
        usual = self.usual.after(difference, counts=2 * work >= BATCHES * LEAST_WORK)
        return self._mean(sample, batches, sample, usual)

    def _mean(self, sample: Sample, batches: tuple[Sample, ...], last: Sample, usual: Usual) -> "Speed":
        return Speed(
            finished=self.finished + sample.requests,
            streamed=self.streamed + (sample.tokens > 0 and not sample.requests),
            tokens=self.tokens.after(sample.tokens, sample.slot_seconds, sample.seconds, SMOOTHING_SECONDS),
            requests=self.requests.after(sample.requests, sample.slot_seconds, sample.seconds, SMOOTHING_SECONDS),
            batches=batches,
            earlier=self.earlier,
            last=last,
            usual=usual,
        )

    def _change(self, before: float, sample: Sample, difference: float, batches: Sequence[Sample]) -> Sample | None:
        """Return the work that shows another speed; None if nothing does."""
        slowest, fastest = before / CHANGE_FACTOR, before * CHANGE_FACTOR
        in_tokens, amount, slot_seconds = bool(self.tokens.amount), 0.0, 0.0
        for number, batch in enumerate(reversed(batches), start=1):
            amount += batch.tokens if in_tokens else batch.requests
            slot_seconds += batch.slot_seconds
            pace = amount / slot_seconds
            if not slowest < pace < fastest and self._suffices(pace, amount, slot_seconds, before):
                return reduce(_sum, batches[len(batches) - number :])
        if not self.usual.is_exceeded(difference, _CHANGE_DIFFERENCE):
            return None
        last = self.last
        work = max(self._amount(last) + self._amount(sample), before * (last.slot_seconds + sample.slot_seconds))
        least = LEAST_WORK * (1 if self._returned(before * math.exp(difference)) else BATCHES)
        return sample if work >= least else None

    def _returned(self, pace: float) -> bool:
        return self.earlier is not None and self.earlier / RETURN_FACTOR < pace < self.earlier * RETURN_FACTOR

    def _extended(self, sample: Sample, before: float) -> tuple[Sample, ...]:
        last = self.batches[-1] if self.batches else None
        if last is not None and self._size(self._amount(last), last.slot_seconds, before) < BATCH_REQUESTS:
            return (*self.batches[:-1], _sum(last, sample))
        return (*self.batches, sample)[-BATCHES - 1 :]

    def _suffices(self, pace: float, amount: float, slot_seconds: float, before: float) -> bool:
        """Return whether this work is enough to show that the speed has become `pace`."""
        size = self._size(amount, slot_seconds, before)
        return size >= (1 if self._returned(pace) else BATCHES) * BATCH_REQUESTS

    def _size(self, amount: float, slot_seconds: float, before: float) -> float:
        """Return the requests of this work: those it has, or those it would have at the speed before."""
        work = max(amount, before * slot_seconds)
        return work * self.requests.amount / self.tokens.amount if self.tokens.amount else work

    @property
    def _pace(self) -> float | None:
        return self.tokens.per_slot if self.tokens.amount else self.requests.per_slot

    def _amount(self, batch: Sample) -> float:
        return batch.tokens if self.tokens.amount else batch.requests


def _sum(batch: Sample, sample: Sample) -> Sample:
    return Sample(
        batch.seconds + sample.seconds,
        batch.slot_seconds + sample.slot_seconds,
        batch.tokens + sample.tokens,
        batch.requests + sample.requests,
    )


def _difference(pace: float, before: float) -> float:
    """Return the logarithm of the quotient; no work at all counts as a hundredth."""
    return math.log(max(pace / before, 0.01))


def _restart(batch: Sample, earlier: float | None, usual: Usual) -> Speed:
    return Speed(
        finished=LEAST_REQUESTS,
        tokens=Work(batch.seconds, batch.slot_seconds, batch.tokens),
        requests=Work(batch.seconds, batch.slot_seconds, batch.requests),
        earlier=earlier,
        last=batch,
        usual=replace(usual, last=0.0),
    )
