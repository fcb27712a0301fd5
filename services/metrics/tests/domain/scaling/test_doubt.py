"""Whether engines' signals can be believed."""

from arks.metrics.domain.scaling.doubt import Signals, doubt


def test_signals_that_agree_with_the_gateway_are_believed() -> None:
    assert "" == doubt([Signals("a", 3.0, 5.0, answers=20), Signals("b", 0.0, 900.0)])


def test_a_page_that_stands_still_while_the_gateway_counts_answers_is_doubted() -> None:
    assert "replica a reports no work, and the gateway counted 7 answers of it" == doubt(
        [Signals("a", 3.0, 60.0, answers=7)]
    )


def test_an_absent_page_is_doubted() -> None:
    assert "replica b reports nothing: 404" == doubt([Signals("a", 0.0), Signals("b", None, problem="404")])
    assert "replica a reports nothing: no number of requests" == doubt([Signals("a", None)])


def test_a_long_request_without_an_answer_is_no_reason_to_doubt() -> None:
    assert "" == doubt([Signals("a", 1.0, 600.0, answers=0)])
