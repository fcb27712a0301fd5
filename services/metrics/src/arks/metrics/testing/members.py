"""Builds the members of metrics for tests."""

from arks.metrics.domain.members import Members


def alone(name: str = "a") -> Members:
    """A member without others: it reads and reports everything."""
    members = Members(name)
    members.arrive()
    return members
