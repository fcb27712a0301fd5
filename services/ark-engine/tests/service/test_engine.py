"""Generations over a scripted llama.cpp."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from arks.ark_engine.domain.failures import Failed
from arks.ark_engine.service.engine import Engine
from arks.ark_engine.service.kept_states import EXPIRES_SECONDS, MOST_STATES, KeptStates
from arks.ark_engine.service.ports import PrefillerPeer
from arks.ark_engine.service.prompts import Prompts
from arks.ark_engine.service.slot_queue import SlotQueue
from arks.ark_engine.testing.fake_llama import FINGERPRINT, FakeLlama, FakePrefiller
from arks.engine.v1.ark_pb2 import Generation, StreamCompleteResponse, Usage
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.wait import eventually


@dataclass
class Bench:
    """An engine with all its parts."""

    llama: FakeLlama
    prefiller: FakePrefiller
    prompts: Prompts
    states: KeptStates
    engine: Engine
    clock: FakeClock


def _bench(directory: Path, *, prefills_elsewhere: bool) -> Bench:
    clock, llama, prefiller = FakeClock(), FakeLlama(directory), FakePrefiller()
    prefillers = {"p:1": PrefillerPeer("p:1", prefiller=prefiller)} if prefills_elsewhere else {}
    prompts = Prompts(llama, prefillers, directory=directory, fingerprint=FINGERPRINT, monotonic=clock.monotonic)
    states = KeptStates(directory, clock)
    slots = SlotQueue(2, most_waiting=4)
    engine = Engine(llama, slots, prompts, states, model="m", fingerprint=FINGERPRINT, clock=clock)
    return Bench(llama, prefiller, prompts, states, engine, clock)


@pytest.fixture
def both(tmp_path: Path) -> Bench:
    return _bench(tmp_path, prefills_elsewhere=False)


@pytest.fixture
def decoder(tmp_path: Path) -> Bench:
    return _bench(tmp_path, prefills_elsewhere=True)


def _generation(**fields: Any) -> Generation:
    return Generation(**{"id": "g", "model": "m", "text": "x"} | fields)


async def _all(bench: Bench, **fields: Any) -> list[StreamCompleteResponse]:
    return [event async for event in bench.engine.stream(_generation(**fields))]


async def test_both_processes_the_prompt_then_generates_in_the_same_slot(both: Bench) -> None:
    events = await _all(both)
    assert ["delta", "delta", "end", "finish"] == [event.WhichOneof("event") for event in events]
    assert Usage(prompt_tokens=7, completion_tokens=2, cached_prompt_tokens=2) == events[-1].finish.usage
    prefill, decode = both.llama.requests
    assert (0, True, prefill["id_slot"]) == (prefill["n_predict"], decode["stream"], decode["id_slot"])


async def test_a_decoder_restores_the_state_of_the_prefiller(decoder: Bench, tmp_path: Path) -> None:
    events = await _all(decoder)
    assert [b"state"] == decoder.llama.restored
    assert 1 == len(decoder.llama.requests), "the decoder processed the prompt itself"
    assert (7, "p:1", 3.0) == (
        events[-1].finish.usage.cached_prompt_tokens,
        events[-1].finish.timing.prefiller,
        events[-1].finish.timing.prefill_milliseconds,
    )
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("fault", ["prefill", "fetch", "fingerprint", "restore"])
async def test_a_decoder_processes_the_prompt_itself_when_the_hand_over_fails(
    fault: str, decoder: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder.prefiller.fails_to_prefill = fault == "prefill"
    decoder.prefiller.fails_to_fetch = fault == "fetch"
    decoder.prefiller.fingerprint = "other" if fault == "fingerprint" else FINGERPRINT
    if fault == "restore":

        async def refuse(*_: object) -> None:
            raise Failed("INVALID_ARGUMENT", "no")

        monkeypatch.setattr(decoder.llama, "restore", refuse)
    assert ["a", "b"] == [event.delta.text for event in await _all(decoder) if event.HasField("delta")]
    assert (2, 1) == (len(decoder.llama.requests), decoder.prompts.fallbacks)
    assert [] == list(tmp_path.iterdir())


async def test_a_prefiller_that_failed_is_tried_again_only_after_a_pause(decoder: Bench) -> None:
    decoder.prefiller.fails_to_prefill = True
    await _all(decoder)
    await _all(decoder)
    assert 1 == decoder.prefiller.prompts
    decoder.clock.advance(1.1)
    decoder.prefiller.fails_to_prefill = False
    await _all(decoder)
    assert (2, 1) == (decoder.prefiller.prompts, decoder.prompts.handed_over)


async def test_a_generation_that_the_prefiller_refuses_is_the_clients_fault(decoder: Bench) -> None:
    decoder.prefiller.refusal = Failed("OUT_OF_RANGE", "too long")
    with pytest.raises(Failed, match="too long"):
        await _all(decoder)
    decoder.prefiller.refusal = None
    await _all(decoder)
    assert (1, 0) == (decoder.prompts.handed_over, decoder.prompts.fallbacks)


async def test_choices_share_the_slots_and_the_prompt_counts_once(both: Bench) -> None:
    events = await _all(both, choices=3)
    assert {0, 1, 2} == {event.end.index for event in events if event.HasField("end")}
    assert Usage(prompt_tokens=7, completion_tokens=6, cached_prompt_tokens=2) == events[-1].finish.usage
    assert (7, 6, 1) == (
        both.engine.totals.prompt_tokens,
        both.engine.totals.completion_tokens,
        both.engine.totals.finished,
    )


async def test_closing_the_events_frees_the_slots(both: Bench) -> None:
    both.llama.hangs = True
    events = both.engine.stream(_generation(choices=4))
    await anext(events)
    await eventually(lambda: (both.engine.slots.running, both.engine.slots.waiting) == (2, 2), what="all choices began")
    await events.aclose()
    assert (0, 0) == (both.engine.slots.running, both.engine.slots.waiting)


async def test_cancel_ends_a_generation_by_its_id(both: Bench) -> None:
    both.llama.hangs = True
    events = both.engine.stream(_generation())
    await anext(events)
    assert both.engine.cancel("g")
    with pytest.raises(Failed) as failed:
        await anext(events)
    assert ("CANCELLED", 0) == (failed.value.status, both.engine.slots.running)
    assert not both.engine.cancel("g")


async def test_an_error_of_llama_ends_the_generation_and_frees_its_slot(both: Bench) -> None:
    both.llama.failure = Failed("OUT_OF_RANGE", "too long")
    with pytest.raises(Failed, match="too long"):
        await _all(both)
    assert 0 == both.engine.slots.running


async def test_an_id_that_is_running_is_refused(both: Bench) -> None:
    both.llama.hangs = True
    events = both.engine.stream(_generation())
    await anext(events)
    with pytest.raises(Failed) as failed:
        await _all(both)
    assert "id" == failed.value.param
    await events.aclose()


async def test_a_stopping_engine_ends_what_runs_and_takes_nothing_new(both: Bench) -> None:
    events = both.engine.stream(_generation())
    await anext(events)
    both.engine.stop()
    with pytest.raises(Failed) as failed:
        await _all(both, id="other")
    assert "UNAVAILABLE" == failed.value.status
    assert "finish" == [event async for event in events][-1].WhichOneof("event")


async def test_a_kept_state_can_be_fetched_once(both: Bench, tmp_path: Path) -> None:
    hand_over = await both.engine.prefill(_generation())
    assert (7, 15, FINGERPRINT) == (hand_over.prompt_tokens, hand_over.state_bytes, hand_over.fingerprint)
    with both.states.taken(hand_over.id) as file:
        assert b"state of slot 0" == file.read()
    with pytest.raises(Failed, match="fetched before"), both.states.taken(hand_over.id):
        pass
    assert [] == list(tmp_path.iterdir())


async def test_a_state_that_is_not_fetched_expires(both: Bench, tmp_path: Path) -> None:
    hand_over = await both.engine.prefill(_generation())
    both.clock.advance(EXPIRES_SECONDS)
    with pytest.raises(Failed), both.states.taken(hand_over.id):
        pass
    assert [] == list(tmp_path.iterdir())


async def test_the_number_of_kept_states_is_bounded(both: Bench, tmp_path: Path) -> None:
    for _ in range(MOST_STATES):
        await both.engine.prefill(_generation())
    with pytest.raises(Failed) as failed:
        await both.engine.prefill(_generation())
    assert ("RESOURCE_EXHAUSTED", MOST_STATES) == (failed.value.status, len(list(tmp_path.iterdir())))


async def test_a_prefill_that_is_cancelled_keeps_nothing(
    both: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving = asyncio.Event()

    async def hang(_: int, name: str) -> int:
        (tmp_path / name).write_bytes(b"half")
        saving.set()
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(both.llama, "save", hang)
    prefill = asyncio.ensure_future(both.engine.prefill(_generation()))
    await saving.wait()
    prefill.cancel()
    await asyncio.wait({prefill})
    assert (0, []) == (both.engine.slots.running, list(tmp_path.iterdir()))
