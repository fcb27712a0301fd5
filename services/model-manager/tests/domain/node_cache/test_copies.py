"""Messages between model-manager and agents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.contracts.resources import CopyPhase
from arks.model_manager.domain.node_cache.copies import (
    AgentState,
    Copy,
    CopyState,
    copies_from_json,
    copies_to_json,
    state_from_json,
    state_to_json,
)

_REASON = "no |not |is |Expecting"
_TEXT = st.text(max_size=20)
_BYTES = st.integers(0, 2**63 - 1)
_COPIES = st.builds(Copy, _TEXT, _TEXT, _TEXT, _TEXT, _TEXT, st.lists(_TEXT, max_size=3).map(tuple))
_STATES = st.builds(CopyState, _TEXT, _TEXT, _TEXT, st.sampled_from(CopyPhase), _BYTES, _BYTES, _TEXT)


@given(st.lists(_COPIES, max_size=3))
def test_copies_arrive_as_they_were_sent(copies: list[Copy]) -> None:
    assert copies_from_json(copies_to_json(copies)) == tuple(copies)


@given(st.builds(AgentState, st.lists(_STATES, max_size=3).map(tuple), _BYTES, _BYTES))
def test_a_state_arrives_as_it_was_sent(state: AgentState) -> None:
    assert state_from_json(state_to_json(state)) == state


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"copies": 1}',
        b'{"copies": [1]}',
        b'{"copies": [{"namespace": 1}]}',
        b'{"copies": [{"namespace": "a", "sources": "b"}]}',
        b'{"copies": [{"namespace": "a", "sources": [1]}]}',
    ],
)
def test_other_text_is_no_list_of_copies(text: bytes) -> None:
    with pytest.raises(ValueError, match=_REASON):
        copies_from_json(text)


@pytest.mark.parametrize("text", [b"", b"[]", b'{"copies": [{"phase": "Lost"}]}', b'{"free_bytes": -1}'])
def test_other_text_is_no_state(text: bytes) -> None:
    with pytest.raises(ValueError, match=_REASON):
        state_from_json(text)
