"""States in chunks."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.ark_engine.domain import state
from arks.ark_engine.domain.state import Assembly, BrokenState, chunks
from arks.engine.v1.ark_pb2 import FetchStateResponse


@given(st.binary(max_size=200), st.integers(1, 50))
def test_a_state_of_any_length_is_put_together_again(data: bytes, chunk_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "CHUNK_BYTES", chunk_bytes)
        assembly = Assembly(len(data))
        assert data == b"".join(assembly.add(chunk) for chunk in chunks(io.BytesIO(data)))
        assembly.end()


def _chunks() -> list[FetchStateResponse]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "CHUNK_BYTES", 4)
        return list(chunks(io.BytesIO(b"0123456789")))


@pytest.mark.parametrize("fault", ["bit", "lost", "swapped", "repeated", "short", "long"])
def test_a_state_that_was_damaged_on_its_way_is_broken(fault: str) -> None:
    first, second, third = _chunks()
    if fault == "bit":
        second.data = b"4568"
    sent = {
        "lost": [first, third],
        "swapped": [second, first, third],
        "repeated": [first, first, second, third],
        "short": [first, second],
    }.get(fault, [first, second, third])
    assembly = Assembly(9 if fault == "long" else 10)
    with pytest.raises(BrokenState):
        for chunk in sent:
            assembly.add(chunk)
        assembly.end()
