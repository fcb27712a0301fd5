"""From a metrics page to a snapshot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.metrics.domain.engines import Snapshot, reader_of


def read(runtime: str, page: str) -> Snapshot:
    reader = reader_of(runtime)
    assert reader is not None
    return reader.read(page.encode())


def test_a_metric_that_is_missing_is_absent_and_not_zero() -> None:
    snapshot = read("vllm", "vllm:num_requests_running 2\n")
    assert Snapshot(running_requests=2.0) == snapshot


@pytest.mark.parametrize("value", ["NaN", "-1", "+Inf", "-Inf", "1e7", "many"])
@pytest.mark.parametrize(
    ("runtime", "name"),
    [
        ("vllm", "vllm:num_requests_running"),
        ("vllm", "vllm:num_requests_waiting"),
        ("sglang", "sglang:num_queue_reqs"),
        ("dynamo", "dynamo_component_inflight_requests"),
        ("llamacpp", "llamacpp:requests_processing"),
        ("ark", "ark_engine_running_requests"),
    ],
)
def test_a_count_that_cannot_be_true_is_a_problem_and_never_idle(runtime: str, name: str, value: str) -> None:
    snapshot = read(runtime, f"{name} {value}\n")
    assert (name, None) == (snapshot.problem.split(" ")[0], snapshot.running_requests)


@pytest.mark.parametrize("value", ["NaN", "-0.1", "1.6", "45.3"])
def test_a_cache_usage_that_is_no_share_of_one_is_a_problem(value: str) -> None:
    snapshot = read("vllm", f"vllm:num_requests_running 1\nvllm:kv_cache_usage_perc {value}\n")
    assert snapshot.problem.startswith("vllm:kv_cache_usage_perc is ")


def test_a_cache_usage_a_little_over_one_is_full() -> None:
    snapshot = read("vllm", "vllm:num_requests_running 1\nvllm:kv_cache_usage_perc 1.02\n")
    assert 1.0 == snapshot.kv_cache_usage_ratio


def test_one_bad_part_of_a_data_parallel_engine_makes_the_reading_a_problem() -> None:
    snapshot = read("sglang", 'sglang:num_running_reqs{dp_rank="0"} 3\nsglang:num_running_reqs{dp_rank="1"} NaN\n')
    assert "sglang:num_running_reqs is nan" == snapshot.problem


@pytest.mark.parametrize("page", ["", "<html>not found</html>", "# HELP nothing here\n", "up 1\n"])
def test_a_page_without_a_known_metric_is_a_problem_with_advice(page: str) -> None:
    snapshot = read("sglang", page)
    assert (
        f"the page ({len(page)} bytes) has no metric known of sglang; start it with --enable-metrics"
        == snapshot.problem
    )


def test_a_runtime_that_we_do_not_know_has_no_reader() -> None:
    assert reader_of("tgi") is None


@given(st.binary(max_size=200), st.sampled_from(["vllm", "sglang", "dynamo", "llamacpp"]))
def test_any_page_gives_signals_or_a_problem_never_both_and_never_an_error(noise: bytes, runtime: str) -> None:
    reader = reader_of(runtime)
    assert reader is not None
    snapshot = reader.read(noise)
    assert bool(snapshot.problem) == (snapshot.running_requests is None and snapshot.waiting_requests is None)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=8))
def test_parts_of_an_engine_add_up(running: list[int]) -> None:
    page = "".join(f'vllm:num_requests_running{{engine="{index}"}} {count}\n' for index, count in enumerate(running))
    assert float(sum(running)) == read("vllm", page).running_requests
