"""The health of several engines."""

from arks.engine.v1.ark_pb2 import HealthResponse, Role
from arks.openai_proxy.domain.health import combined

LOADING, READY = HealthResponse.STATUS_LOADING, HealthResponse.STATUS_READY


def test_engines_together_are_ready_if_one_is_and_their_load_is_the_sum() -> None:
    engine = HealthResponse(status=LOADING, role=Role.ROLE_DECODER, slots=4, finished=7)
    other = HealthResponse(status=READY, role=Role.ROLE_DECODER, slots=2, running=2, waiting=1, completion_tokens=9)
    expected = HealthResponse(
        status=READY, role=Role.ROLE_DECODER, slots=6, running=2, waiting=1, finished=7, completion_tokens=9
    )
    assert expected == combined([engine, other])


def test_one_engine_is_itself() -> None:
    engine = HealthResponse(
        status=LOADING,
        role=Role.ROLE_BOTH,
        slots=1,
        running=2,
        waiting=3,
        prompt_tokens=4,
        completion_tokens=5,
        finished=6,
        handed_over=7,
        fallbacks=8,
    )
    assert engine == combined([engine])
