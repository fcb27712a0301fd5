"""What keeps an application from the number of replicas that is wanted."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    reason: str
    """CamelCase, as in conditions."""
    message: str
