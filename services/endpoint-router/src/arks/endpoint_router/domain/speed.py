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
_ROUNDING = 1 + 1e-9
"""Sums of floats differ by less than this factor."""
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
        return _per_slot(self.amount, self.slot_seconds, self.seconds)


class Sample(Struct, frozen=True, gc=False):
    """Work between two readings."""

    seconds: float = 0.0
    slot_seconds: float = 0.0
    tokens: float = 0.0
    requests: float = 0.0


NO_WORK = Sample()


class Batches(Struct, frozen=True, gc=False):
    """The last work in batches of a few requests."""

    ended: tuple[Sample, ...] = ()
    """All but the newest, the oldest first."""
    slowest: float = math.inf
    """The least pace of those. While no pace is unusual, no batch has to be read: reading all of them would be much of
    what a report costs, because they are spread over the memory."""
    fastest: float = 0.0
    growing: Sample | None = None
    """The newest batch."""

    @property
    def all(self) -> tuple[Sample, ...]:
        return self.ended if self.growing is None else (*self.ended, self.growing)

    def after(self, sample: Sample, *, full: bool, in_tokens: bool) -> "Batches":
        """Add work. `full`: the newest batch grows no more; `in_tokens`: the unit of paces."""
        if self.growing is None:
            return Batches(self.ended, self.slowest, self.fastest, sample)
        if not full:
            return Batches(self.ended, self.slowest, self.fastest, _sum(self.growing, sample))
        return _batches((*self.ended, self.growing)[-BATCHES:], sample, in_tokens=in_tokens)


class Speed(Struct, frozen=True, gc=False):
    """The speed of one replica from its counters."""

    finished: float = 0.0
    """Requests since the measurement began."""
    streamed: int = 0
    """Readings in which tokens grew and no request ended: the engine counts tokens as they are made."""
    mean: Sample = NO_WORK
    """Work of about SMOOTHING_SECONDS. All of it fades at the same rate, so that quotients are means."""
    batches: Batches = Batches()
    earlier: float | None = None
    """Work of a slot in a second before the last change, in the unit of `_pace`."""
    last: Sample = NO_WORK
    """The work of the last reading."""
    usual: Usual = Usual()

    @property
    def known(self) -> bool:
        return self.finished >= LEAST_REQUESTS or self.streamed >= LEAST_STREAMED

    @property
    def tokens_per_slot(self) -> float | None:
        """Tokens that one slot makes in a second; None if unknown."""
        return _per_slot(self.mean.tokens, self.mean.slot_seconds, self.mean.seconds)

    @property
    def requests_per_slot(self) -> float | None:
        """Requests that one slot completes in a second; None if unknown."""
        return _per_slot(self.mean.requests, self.mean.slot_seconds, self.mean.seconds)

    @property
    def fallen(self) -> bool:
        """Return whether it was much faster before its last change, and may be again."""
        return self.earlier is not None and self._pace is not None and self._pace * RETURN_FACTOR < self.earlier

    def after(self, sample: Sample) -> "Speed":
        before, batches = self._pace, self.batches
        if before is None or sample.slot_seconds <= 0 or not self.known:
            return self._mean(sample, batches, self.last, self.usual)
        amount, growing = self._amount(sample), batches.growing
        difference = _difference(amount / sample.slot_seconds, before)
        full = growing is not None and self._size(self._amount(growing), growing.slot_seconds, before) >= BATCH_REQUESTS
        batches = batches.after(sample, full=full, in_tokens=bool(self.mean.tokens))
        if (recent := self._change(before, sample, difference, batches)) is not None:
            settled = self.finished >= SETTLED_REQUESTS or self.earlier is None
            return _restart(recent, earlier=before if settled else self.earlier, usual=self.usual)
        work = max(amount, before * sample.slot_seconds)  # what was done, or would have been at the speed before
        usual = self.usual.after(difference, counts=2 * work >= BATCHES * LEAST_WORK)
        return self._mean(sample, batches, sample, usual)

    def _mean(self, sample: Sample, batches: Batches, last: Sample, usual: Usual) -> "Speed":
        seconds, tokens, requests, mean = sample.seconds, sample.tokens, sample.requests, self.mean
        if tokens and not mean.tokens:  # from now on paces are those of tokens
            batches = _batches(batches.ended, batches.growing, in_tokens=True)
        kept = math.exp(-seconds / SMOOTHING_SECONDS)
        faded = Sample(
            kept * mean.seconds + seconds,
            kept * mean.slot_seconds + sample.slot_seconds,
            kept * mean.tokens + tokens,
            kept * mean.requests + requests,
        )
        streamed = self.streamed + (tokens > 0 and not requests)
        return Speed(self.finished + requests, streamed, faded, batches, self.earlier, last, usual)

    def _change(self, before: float, sample: Sample, difference: float, batches: Batches) -> Sample | None:
        """Return the work that shows another speed; None if nothing does."""
        if not self._is_usual(before, batches) and (changed := self._changed(before, batches.all)) is not None:
            return changed
        if not self.usual.is_exceeded(difference, _CHANGE_DIFFERENCE):
            return None
        last = self.last
        work = max(self._amount(last) + self._amount(sample), before * (last.slot_seconds + sample.slot_seconds))
        least = LEAST_WORK * (1 if self._returned(before * math.exp(difference)) else BATCHES)
        return sample if work >= least else None

    def _is_usual(self, before: float, batches: Batches) -> bool:
        """Return whether the pace of each batch is, so that of any sum of them is too."""
        growing, slowest, fastest = batches.growing, batches.slowest, batches.fastest
        if growing is not None:
            pace = self._amount(growing) / growing.slot_seconds
            slowest, fastest = min(slowest, pace), max(fastest, pace)
        return slowest * CHANGE_FACTOR > before * _ROUNDING and fastest * _ROUNDING < before * CHANGE_FACTOR

    def _changed(self, before: float, batches: Sequence[Sample]) -> Sample | None:
        """Return the newest batches whose pace is another one, if they are enough to show it."""
        slowest, fastest = before / CHANGE_FACTOR, before * CHANGE_FACTOR
        amount = slot_seconds = 0.0
        for number, batch in enumerate(reversed(batches), start=1):
            amount += self._amount(batch)
            slot_seconds += batch.slot_seconds
            pace = amount / slot_seconds
            if not slowest < pace < fastest and self._suffices(pace, amount, slot_seconds, before):
                return reduce(_sum, batches[len(batches) - number :])
        return None

    def _returned(self, pace: float) -> bool:
        return self.earlier is not None and self.earlier / RETURN_FACTOR < pace < self.earlier * RETURN_FACTOR

    def _suffices(self, pace: float, amount: float, slot_seconds: float, before: float) -> bool:
        """Return whether this work is enough to show that the speed has become `pace`."""
        size = self._size(amount, slot_seconds, before)
        return size >= (1 if self._returned(pace) else BATCHES) * BATCH_REQUESTS

    def _size(self, amount: float, slot_seconds: float, before: float) -> float:
        """Return the requests of this work: those it has, or those it would have at the speed before."""
        work, mean = max(amount, before * slot_seconds), self.mean
        return work * mean.requests / mean.tokens if mean.tokens else work

    @property
    def _pace(self) -> float | None:
        return self.tokens_per_slot if self.mean.tokens else self.requests_per_slot

    def _amount(self, batch: Sample) -> float:
        return batch.tokens if self.mean.tokens else batch.requests


def _per_slot(amount: float, slot_seconds: float, seconds: float) -> float | None:
    measured = slot_seconds >= LEAST_RUNNING * seconds and slot_seconds > 0 and amount > 0
    return (amount / slot_seconds if measured else 0.0) or None  # a tiny quotient is 0 too


def _batches(ended: tuple[Sample, ...], growing: Sample | None, *, in_tokens: bool) -> Batches:
    paces = [(batch.tokens if in_tokens else batch.requests) / batch.slot_seconds for batch in ended]
    return Batches(ended, min(paces, default=math.inf), max(paces, default=0.0), growing)


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
    return Speed(finished=LEAST_REQUESTS, mean=batch, earlier=earlier, last=batch, usual=replace(usual, last=0.0))
