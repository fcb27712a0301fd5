from dataclasses import replace
from typing import Any

import pytest

from arks.metrics.domain.engines import Snapshot, reader_of
from arks.metrics.domain.stall import LONGEST_GAP_SECONDS, Stall

BUSY = Snapshot(running_requests=2, waiting_requests=1, generation_tokens=100, prompt_tokens=7, steps=40)
TICK = 0.5


def followed(*snapshots: Snapshot, tick: float = TICK) -> Stall:
    stall = Stall(0.0, snapshots[0])
    for number, snapshot in enumerate(snapshots[1:], 1):
        stall = stall.after(snapshot, number * tick)
    return stall


def changed(**fields: Any) -> Snapshot:
    return replace(BUSY, **fields)


def test_requests_without_a_step_are_a_stall() -> None:
    assert 60.0 == followed(*[BUSY] * 121).seconds


def test_clients_that_come_and_go_are_no_movement() -> None:
    snapshots = [changed(running_requests=1 + number % 3, waiting_requests=number) for number in range(121)]
    assert 60.0 == followed(*snapshots).seconds


@pytest.mark.parametrize("name", ["steps", "prompt_tokens", "generation_tokens", "kv_cache_usage_ratio"])
def test_a_long_prompt_moves_something(name: str) -> None:
    """llama.cpp counts calls of its decoder; others fill their KV cache, long before the first token."""
    snapshots = [changed(**{name: 50.0 + number // 20}) for number in range(2000)]
    assert followed(*snapshots).seconds < 20 * TICK


def test_an_engine_without_requests_is_not_stuck() -> None:
    idle = changed(running_requests=0, waiting_requests=0)
    assert 0.0 == followed(BUSY, *[idle] * 200, BUSY).seconds


def test_time_without_an_answer_does_not_count() -> None:
    assert 3 * LONGEST_GAP_SECONDS == followed(*[BUSY] * 4, tick=100.0).seconds


@pytest.mark.parametrize(("runtime", "shows"), [("llamacpp", True), ("vllm", True), ("sglang", True), ("ark", False)])
def test_only_engines_whose_page_moves_can_stand_still(runtime: str, shows: bool) -> None:
    reader = reader_of(runtime)
    assert reader is not None
    assert shows is reader.shows_movement


def test_requests_that_run_for_ten_seconds_without_movement_are_held() -> None:
    still = changed(waiting_requests=0)
    assert (False, True) == (followed(*[still] * 19).held, followed(*[still] * 22).held)


@pytest.mark.parametrize("fields", [{"waiting_requests": 1}, {"waiting_requests": 0, "steps": None}])
def test_a_queue_or_a_page_without_steps_holds_nothing(fields: dict[str, Any]) -> None:
    assert not followed(*[changed(**fields)] * 40).held


def test_a_long_request_is_not_held_while_its_cache_fills() -> None:
    snapshots = [changed(waiting_requests=0, steps=40.0 + number // 8) for number in range(400)]
    assert not followed(*snapshots).held
