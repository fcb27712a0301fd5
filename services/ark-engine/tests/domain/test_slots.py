"""Slots."""

from arks.ark_engine.domain.slots import SHARED_CHARACTERS, Slots

LONG = "x" * SHARED_CHARACTERS


def test_a_prompt_gets_the_slot_whose_last_prompt_it_shares_the_most_with() -> None:
    slots = Slots(3)
    slots.free(slots.take("") or 0, "y")
    for slot, prompt in ((0, LONG), (1, LONG + "a"), (2, "z")):
        slots.free(slot, prompt)
    assert 1 == slots.take(LONG + "ab")
    assert 0 == slots.take(LONG + "ab")


def test_without_a_shared_beginning_it_is_the_slot_that_was_free_longest() -> None:
    slots = Slots(2)
    assert [0, 1, None] == [slots.take("a"), slots.take("a"), slots.take("a")]
    slots.free(1, "short")
    slots.free(0, "short")
    assert 1 == slots.take("shorter")
    assert 1 == slots.busy
