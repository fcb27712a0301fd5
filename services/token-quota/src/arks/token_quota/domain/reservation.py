"""The reservation: what a request may use at most, subtracted from limits and budgets before it starts."""

from typing import NamedTuple


class ReservationRequest(NamedTuple):
    """The tokens that one request reserves. An exact completion fits entirely or not at all; any other shrinks to the
    remaining room, but not below `min_completion_tokens`.
    """

    prompt_tokens: int
    completion_tokens: int
    exact: bool
    min_completion_tokens: int = 1

    @property
    def needed_completion_tokens(self) -> int:
        return self.completion_tokens if self.exact else self.min_completion_tokens
