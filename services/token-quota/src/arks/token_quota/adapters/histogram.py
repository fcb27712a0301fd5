"""Prometheus metrics for the event loop's thread only, as all of metering: prometheus_client's own classes have locks,
and take 1.5 us a value where these take 0.3.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Series:
    """The values of one combination of labels."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * len(bounds)
        """Values by bucket, each in one bucket only."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class FastHistogram(Collector):
    def __init__(
        self, name: str, help_: str, labels: Sequence[str], *, buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        """`buckets`: upper bounds, rising; values above the last one are in a bucket of their own."""
        self._name, self._help, self.labels = name, help_, labels
        self._bounds = [*map(float, buckets), float("inf")]
        self._series: dict[tuple[str, ...], Series] = {}
        registry.register(self)

    def series(self, labels: tuple[str, ...]) -> Series:
        """Values of the labels, in their order; the same object for the same values."""
        found = self._series.get(labels)
        if found is None:
            found = self._series[labels] = Series(self._bounds)
        return found

    def describe(self) -> Iterable[HistogramMetricFamily]:
        return [HistogramMetricFamily(self._name, self._help, labels=self.labels)]

    def sums(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """Labels, and the sum of their values."""
        return ((labels, series.sum) for labels, series in self._series.items())

    def collect(self) -> Iterable[HistogramMetricFamily]:
        (family,) = self.describe()
        for labels, series in self._series.items():
            buckets: list[tuple[str, float]] = []
            total = 0
            for bound, count in zip(self._bounds, series.counts, strict=True):
                total += count
                buckets.append((floatToGoString(bound), total))  # type: ignore[no-untyped-call]
            family.add_metric(labels, buckets, series.sum)
        return [family]


class SumCounter(Collector):
    """The sums of a histogram as a counter of its own."""

    def __init__(self, name: str, help_: str, histogram: FastHistogram, registry: CollectorRegistry) -> None:
        self._name, self._help, self._histogram = name, help_, histogram
        registry.register(self)

    def describe(self) -> Iterable[CounterMetricFamily]:
        return [CounterMetricFamily(self._name, self._help, labels=self._histogram.labels)]

    def collect(self) -> Iterable[CounterMetricFamily]:
        (family,) = self.describe()
        for labels, total in self._histogram.sums():
            family.add_metric(labels, total)
        return [family]


class FastCounter(Collector):
    """`values`: by labels, in their order. Programs that count add to them."""

    def __init__(self, name: str, help_: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name, self._help, self._labels = name, help_, labels
        self.values: defaultdict[tuple[str, ...], int] = defaultdict(int)
        registry.register(self)

    def describe(self) -> Iterable[CounterMetricFamily]:
        return [CounterMetricFamily(self._name, self._help, labels=self._labels)]

    def collect(self) -> Iterable[CounterMetricFamily]:
        (family,) = self.describe()
        for labels, value in self.values.items():
            family.add_metric(labels, value)
        return [family]
