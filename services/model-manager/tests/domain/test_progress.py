"""Progress as numbers that make sense, whatever the samples."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from arks.model_manager.domain.progress import Sample, add_sample, progress_of

SAMPLES = st.lists(
    st.tuples(st.floats(0, 1e6, allow_nan=False), st.integers(0, 10**13)).map(lambda pair: Sample(*pair)), max_size=200
)


@settings(deadline=None)
@example([Sample(0.0, 0), Sample(2.5e-300, 10**13)], 1)
@given(SAMPLES, st.none() | st.integers(0, 10**13))
def test_numbers_are_in_their_ranges_for_any_samples(samples: list[Sample], total: int | None) -> None:
    kept: tuple[Sample, ...] = ()
    for sample in sorted(samples, key=lambda sample: sample.at_seconds):
        kept = add_sample(kept, sample)
    progress = progress_of(kept, total)
    assert 0 <= (progress.percent or 0) <= 100
    assert (progress.bytes_per_second or 0) >= 0
    assert (progress.remaining_seconds or 0) >= 0
    assert len(kept) <= 66


@settings(deadline=None)
@given(st.integers(1, 10**9), st.integers(1, 1000))
def test_a_steady_rate_is_reported_as_it_is(rate: int, seconds: int) -> None:
    kept: tuple[Sample, ...] = ()
    for at in range(seconds + 1):
        kept = add_sample(kept, Sample(float(at), rate * at))
    progress = progress_of(kept, rate * (seconds + 7))
    assert (rate, 7) == (progress.bytes_per_second, progress.remaining_seconds)


def test_the_rate_covers_the_last_seconds_only() -> None:
    kept: tuple[Sample, ...] = ()
    for at in range(100):
        kept = add_sample(kept, Sample(float(at), 0 if at < 50 else (at - 50) * 1000))
    assert 1000 == progress_of(kept, 10**6).bytes_per_second


def test_discarded_bytes_start_the_rate_over() -> None:
    kept = add_sample((Sample(0, 0), Sample(1, 1000)), Sample(2, 10))
    assert (None, 10) == (progress_of(kept, 1000).bytes_per_second, progress_of(kept, 1000).done_bytes)


def test_nothing_is_guessed_before_the_total_is_known() -> None:
    progress = progress_of((Sample(0, 0), Sample(1, 10)), None)
    assert (None, None, 10) == (progress.percent, progress.remaining_seconds, progress.bytes_per_second)
