"""Tickets of namespaces."""

from hypothesis import given
from hypothesis import strategies as st

from arks.model_manager.domain.node_cache import tickets

KEY = tickets.namespace_key("installation", "team-a")


def test_a_ticket_is_valid_until_it_expires() -> None:
    made = tickets.ticket(KEY, 1000.0)
    assert tickets.is_valid(KEY, made, 1000.0)
    assert tickets.is_valid(KEY, made, 1000.0 + tickets.LIFE_SECONDS - 1)
    assert not tickets.is_valid(KEY, made, 1000.0 + tickets.LIFE_SECONDS)


def test_a_ticket_of_another_namespace_is_not_valid() -> None:
    other = tickets.namespace_key("installation", "team-b")
    assert not tickets.is_valid(KEY, tickets.ticket(other, 1000.0), 1000.0)


def test_a_ticket_of_a_namespace_does_not_command_agents() -> None:
    """No namespace has the name that would give the key of commands."""
    control = tickets.control_key("installation")
    assert not tickets.is_valid(control, tickets.ticket(KEY, 1000.0), 1000.0)
    assert control != tickets.namespace_key("installation", "control")


def test_a_ticket_with_a_later_expiry_is_not_valid() -> None:
    _, _, mac = tickets.ticket(KEY, 1000.0).partition(".")
    assert not tickets.is_valid(KEY, f"1200.{mac}", 1000.0)


@given(st.text(max_size=90))
def test_other_text_is_not_a_ticket(text: str) -> None:
    assert not tickets.is_valid(KEY, text, 1000.0)


def test_the_same_ticket_is_used_while_it_is_valid_for_long() -> None:
    current = tickets.Tickets(KEY)
    first = current.current(1000.0)
    assert current.current(1000.0 + tickets.LIFE_SECONDS - tickets.RENEW_SECONDS - 1) == first
    later = 1000.0 + tickets.LIFE_SECONDS - tickets.RENEW_SECONDS
    assert current.current(later) != first
    assert tickets.is_valid(KEY, current.current(later), later)
