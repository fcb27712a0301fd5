"""Lines of the usage log of the corpus, and what fuzzing makes of them."""

from pathlib import Path

import pytest
from hypothesis import given

from arks.kit.testing.corpus import changed, corpus
from arks.token_quota.domain.charge import usage_record
from arks.token_quota.domain.line_reader import ENDS
from arks.token_quota.domain.lines import LineError

LINES = corpus(Path(__file__).parents[1] / "corpus/usage_lines")
COUNT_LIMIT = 2**31 - 1


def is_charged(line: bytes) -> bool:
    try:
        _, record = usage_record(ENDS.read_one(line))
    except LineError:
        return False
    assert 0 <= record.prompt_tokens <= COUNT_LIMIT
    assert 0 <= record.completion_tokens <= COUNT_LIMIT
    return True


@pytest.mark.parametrize("name", LINES)
def test_a_line_of_the_corpus_is_charged_or_refused_as_its_name_promises(name: str) -> None:
    assert name.split("-", maxsplit=1)[0] == ("charged" if is_charged(LINES[name]) else "refused")


@given(changed(list(LINES.values())))
def test_no_line_made_of_the_corpus_breaks_the_reader_or_exceeds_what_a_count_may_be(line: bytes) -> None:
    is_charged(line)
