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


@pytest.mark.parametrize("value", ["NaN", "-0.1", "-1e-16", "1.6", "45.3"])
@pytest.mark.parametrize("name", ["kv_cache_usage_perc", "generation_tokens_total"])
def test_another_signal_that_cannot_be_true_is_absent_and_the_counts_stay(name: str, value: str) -> None:
    snapshot = read("vllm", f"vllm:num_requests_running 8\nvllm:{name} {value}\n")
    assert ("", 8.0, None) == (snapshot.problem, snapshot.running_requests, snapshot.kv_cache_usage_ratio)
    assert snapshot.generation_tokens is None or (name, snapshot.generation_tokens) == (
        "generation_tokens_total",
        float(value),
    )


@pytest.mark.parametrize("runtime", ["vllm", "dynamo"])
def test_a_series_that_is_on_the_page_twice_counts_once(runtime: str) -> None:
    page = (
        'vllm:num_requests_running{engine="0"} 7\nvllm:num_requests_waiting 2\n'
        'vllm:generation_tokens_total{engine="0"} 90\nvllm:request_success_total{finished_reason="stop"} 5\n'
    )
    assert read(runtime, page) == read(runtime, page + page)


def test_a_dynamo_request_in_two_stages_at_once_counts_once() -> None:
    stages = "".join(
        f'dynamo_frontend_stage_requests{{stage="dispatch",phase="{phase}"}} 10\n' for phase in ("prefill", "decode")
    )
    page = f'dynamo_frontend_active_requests{{model="q"}} 30\n{stages}'
    snapshot = read("dynamo", f"{page}dynamo_frontend_queued_requests 10\n")
    assert (20.0, 10.0) == (snapshot.running_requests, snapshot.waiting_requests)
    fewer = read("dynamo", page.replace(" 30", " 12"))
    assert (0.0, 12.0) == (fewer.running_requests, fewer.waiting_requests)


def test_a_trtllm_worker_behind_dynamo_gives_tokens_and_finished_requests() -> None:
    page = (
        "trtllm_num_requests_running 3\ntrtllm_prompt_tokens_total 99\ntrtllm_generation_tokens_total 12345\n"
        'trtllm_request_success_total{finished_reason="stop"} 57\n'
    )
    snapshot = read("dynamo", page)
    assert (99.0, 12345.0, 57.0) == (snapshot.prompt_tokens, snapshot.generation_tokens, snapshot.finished_requests)


@pytest.mark.parametrize(("state", "asleep"), [("awake", False), ("weights_offloaded", True), ("discard_all", True)])
def test_an_engine_that_sleeps_is_a_problem_and_not_idle(state: str, asleep: bool) -> None:
    states = "".join(
        f'vllm:engine_sleep_state{{sleep_state="{name}"}} {float(name == state)}\n'
        for name in ("awake", "weights_offloaded", "discard_all")
    )
    snapshot = read("vllm", f"vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n{states}")
    assert (asleep, None if asleep else 0.0) == (bool(snapshot.problem), snapshot.running_requests)


def test_requests_that_clients_gave_up_have_not_finished() -> None:
    ends = "".join(
        f'vllm:request_success_total{{finished_reason="{reason}"}} {count}\n'
        for reason, count in (("abort", 1000), ("error", 10), ("stop", 3), ("length", 4))
    )
    assert 7.0 == read("vllm", f"vllm:num_requests_running 1\n{ends}").finished_requests


def test_a_metric_whose_samples_do_not_count_gives_way_to_the_next() -> None:
    page = 'dynamo_component_inflight_requests{dynamo_endpoint="mine"} 5\ndynamo_frontend_active_requests 4\n'
    assert 4.0 == read("dynamo", page).running_requests


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


@pytest.mark.parametrize(
    ("runtime", "page"),
    [
        ("vllm", "# HELP vllm:num_requests_running Requests\n# TYPE vllm:num_requests_running gauge\n"),
        ("dynamo", "# TYPE dynamo_frontend_active_requests gauge\ndynamo_frontend_disconnected_clients 0\n"),
    ],
)
def test_an_engine_without_a_request_so_far_is_not_called_another_program(runtime: str, page: str) -> None:
    assert "its metrics have no values yet: it has had no request" == read(runtime, page).problem


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
