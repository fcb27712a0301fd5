import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.contracts.subjects import (
    EventKind,
    decode,
    encode,
    event_subject,
    fact_key,
    load_subject,
    split_fact_key,
    usage_subject,
)

names = st.text(min_size=1, max_size=40)


@given(names)
def test_any_name_can_be_written_as_one_token_and_read_back(name: str) -> None:
    token = encode(name)
    assert re.fullmatch(r"[A-Za-z0-9_=-]+", token)
    assert name == decode(token)


@given(names, names)
def test_a_fact_key_gives_both_names_back(namespace: str, name: str) -> None:
    assert (namespace, name) == split_fact_key(fact_key(namespace, name))


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        encode("")


def test_subjects_are_those_of_the_documentation() -> None:
    assert "arks.events.model.ready.default.qwen-7b" == event_subject(EventKind.MODEL, "ready", "default", "qwen-7b")
    assert "arks.usage.team=2Ea" == usage_subject("team.a")
    assert "arks.load.default.app-qwen" == load_subject("default", "app-qwen")
