from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from arks.token_quota.adapters.histogram import BatchHistogram

BUCKETS = (0.5, 1, 8)


def exposed(registry: CollectorRegistry) -> list[str]:
    """Without the time of creation, which only prometheus_client's own class has."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 8.0, 9.0]), min_size=1))
def test_many_values_at_once_are_exposed_as_one_by_one(values: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    BatchHistogram("seconds", "Help", ["user"], buckets=BUCKETS, registry=ours).series(("tom",)).observe(values)
    one_by_one = Histogram("seconds", "Help", ["user"], buckets=BUCKETS, registry=theirs).labels("tom")
    for value in values:
        one_by_one.observe(value)
    assert exposed(theirs) == exposed(ours)


def test_values_of_the_same_labels_add_up() -> None:
    registry = CollectorRegistry()
    histogram = BatchHistogram("seconds", "Help", ["user"], buckets=BUCKETS, registry=registry)
    for _ in range(2):
        histogram.series(("tom",)).observe([1.0, 1.0])
    histogram.series(("ann",)).observe([9.0])
    assert 4 == registry.get_sample_value("seconds_count", {"user": "tom"})
    assert 0 == registry.get_sample_value("seconds_bucket", {"user": "ann", "le": "8.0"})
