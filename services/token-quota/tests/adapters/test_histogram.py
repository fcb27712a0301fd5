from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from arks.token_quota.adapters.histogram import FastCounter, FastHistogram, SumCounter

BUCKETS = (0.5, 1, 8)


def exposed(registry: CollectorRegistry) -> list[str]:
    """Without the time of creation, which only prometheus_client's own class has."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 8.0, 9.0]), min_size=1))
def test_values_are_exposed_as_by_prometheus_own_class(values: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    our_series = FastHistogram("seconds", "Help", ["user"], buckets=BUCKETS, registry=ours).series(("tom",))
    their_series = Histogram("seconds", "Help", ["user"], buckets=BUCKETS, registry=theirs).labels("tom")
    for value in values:
        our_series.observe(value)
        their_series.observe(value)
    assert exposed(theirs) == exposed(ours)


def test_values_of_the_same_labels_add_up() -> None:
    registry = CollectorRegistry()
    histogram = FastHistogram("seconds", "Help", ["user"], buckets=BUCKETS, registry=registry)
    for _ in range(4):
        histogram.series(("tom",)).observe(1.0)
    histogram.series(("ann",)).observe(9.0)
    assert 4 == registry.get_sample_value("seconds_count", {"user": "tom"})
    assert 0 == registry.get_sample_value("seconds_bucket", {"user": "ann", "le": "8.0"})


def test_counters_are_exposed_as_by_prometheus_own_class() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    counter = FastCounter("requests", "Help", ["user"], registry=ours)
    counter.values[("tom",)] += 1
    counter.values[("tom",)] += 2
    Counter("requests", "Help", ["user"], registry=theirs).labels("tom").inc(3)
    assert exposed(theirs) == exposed(ours)


def test_the_sums_of_a_histogram_are_a_counter_too() -> None:
    registry = CollectorRegistry()
    histogram = FastHistogram("distribution", "Help", ["user"], buckets=BUCKETS, registry=registry)
    SumCounter("used", "Help", histogram, registry)
    for value in (2, 3):
        histogram.series(("tom",)).observe(value)
    assert 5 == registry.get_sample_value("used_total", {"user": "tom"})
