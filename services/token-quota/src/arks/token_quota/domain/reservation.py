"""The reservation: what a request may use at most, subtracted from limits and budgets before it starts."""

from dataclasses import dataclass
from typing import NamedTuple

from arks.contracts.usage import UsageSource
from arks.token_quota.domain.usage import Usage


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


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a request holds until its usage is known."""

    request_id: str
    namespace: str
    token: str
    endpoint: str
    operation: str
    quota: str
    started_at_milliseconds: int
    prompt_tokens: int
    completion_tokens: int

    def charge(self) -> Usage:
        """The usage that replaces this reservation if no usage record arrives in time: all of it."""
        return Usage(
            request_id=self.request_id,
            namespace=self.namespace,
            token=self.token,
            endpoint=self.endpoint,
            quota=self.quota,
            operation=self.operation,
            source=UsageSource.RESERVATION,
            started_at_milliseconds=self.started_at_milliseconds,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
        )
