import pytest

from arks.contracts.gateway_token import TokenGate, bearer


@pytest.mark.parametrize(
    ("gate", "given", "accepted"),
    [
        (TokenGate(), None, True),
        (TokenGate(), "any", True),
        (TokenGate("right"), "right", True),
        (TokenGate("right"), "wrong", False),
        (TokenGate("right"), "\u00e9", False),
        (TokenGate("right"), None, False),
        (TokenGate("right"), "", False),
        (TokenGate("right"), "-", False),
        (TokenGate("right", required=False), None, True),
        (TokenGate("right", required=False), "-", True),
        (TokenGate("right", required=False), "wrong", False),
    ],
)
def test_callers_need_the_token(gate: TokenGate, given: str | None, accepted: bool) -> None:
    assert accepted == gate.accepts(given)


def test_the_token_is_not_in_logs() -> None:
    assert "right" not in repr(TokenGate("right"))


def test_the_bearer_is_read_from_its_header() -> None:
    assert ["t", "t", None, None] == [bearer(text) for text in ("Bearer t", "bearer  t ", "Basic t", None)]
