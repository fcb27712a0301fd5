"""The health of several engines that serve the same model, as that of one."""

from collections.abc import Sequence

from arks.engine.v1.ark_pb2 import HealthResponse

_SUMS = (
    "slots",
    "running",
    "waiting",
    "prompt_tokens",
    "completion_tokens",
    "finished",
    "handed_over",
    "fallbacks",
)
_BEST_FIRST = (HealthResponse.STATUS_READY, HealthResponse.STATUS_LOADING, HealthResponse.STATUS_STOPPING)


def combined(answers: Sequence[HealthResponse]) -> HealthResponse:
    """Ready if one of them is; the sum of their load. `answers`: at least one."""
    statuses = [answer.status for answer in answers]
    return HealthResponse(
        status=next((status for status in _BEST_FIRST if status in statuses), statuses[0]),
        role=answers[0].role,
        **{name: sum(getattr(answer, name) for answer in answers) for name in _SUMS},
    )
