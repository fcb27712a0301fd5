"""Bounds of held requests, and how many pass at a time."""

from hypothesis import given
from hypothesis import strategies as st

from arks.kit.key import Key
from arks.token_quota.domain.holding import FIRST_REQUESTS, Bounds, Load, Queues, room

BOUNDS = Bounds(endpoint=3, tenant=4, total=6)
ENDPOINTS = [Key(namespace, name) for namespace in ("a", "b", "c") for name in ("x", "y")]
steps = st.lists(
    st.tuples(st.sampled_from(["join", "remove", "take"]), st.sampled_from(ENDPOINTS), st.integers(0, 9)), max_size=60
)


@given(steps)
def test_no_bound_is_exceeded_and_each_request_is_taken_once_in_order(found: list[tuple[str, Key, int]]) -> None:
    queues: Queues[int] = Queues(BOUNDS)
    expected: dict[Key, list[int]] = {endpoint: [] for endpoint in ENDPOINTS}
    for number, (step, endpoint, argument) in enumerate(found):
        queue = expected[endpoint]
        if step == "join" and queues.join(endpoint, number):
            queue.append(number)
        elif step == "remove":
            gone = queue[argument % len(queue)] if queue else -1
            queues.remove(endpoint, gone)
            queues.remove(endpoint, gone)
            expected[endpoint] = [ticket for ticket in queue if ticket != gone]
        elif step == "take":
            assert queue[:argument] == queues.take(endpoint, argument)
            expected[endpoint] = queue[argument:]
        assert {key for key, tickets in expected.items() if tickets} == set(queues.endpoints())
        counts = {key: len(tickets) for key, tickets in expected.items()}
        assert counts == {key: queues.waiting(key) for key in ENDPOINTS}
        tenants = [sum(counts[Key(tenant, name)] for name in ("x", "y")) for tenant in ("a", "b", "c")]
        assert max(counts.values()) <= BOUNDS.endpoint
        assert max(tenants) <= BOUNDS.tenant
        assert sum(tenants) <= BOUNDS.total
        for key in ENDPOINTS:
            full = counts[key] == 3 or tenants["abc".index(key.namespace)] == 4 or sum(tenants) == 6
            assert queues.has_room(key) != full


def test_free_slots_are_filled_and_a_full_engine_gets_what_it_ends() -> None:
    assert 8 == room(1, Load(slots=8), 0)
    assert 3 == room(1, Load(slots=8), 5)
    assert 2 == room(1, Load(running=8, slots=8, drain_per_second=1.5), 0)
    assert 0 == room(1, Load(running=8, waiting=4, slots=8, drain_per_second=1.5), 0)


def test_without_slots_the_number_in_flight_doubles_until_requests_wait() -> None:
    assert 2 * FIRST_REQUESTS == room(2, None, 0)
    assert 16 == room(1, Load(running=16), 0)
    assert 0 == room(1, Load(running=16, waiting=1), 0)


@given(st.integers(1, 9), st.integers(0, 99), st.integers(0, 99), st.integers(1, 64), st.integers(0, 99))
def test_a_crowd_never_waits_in_engines_beyond_what_they_end_in_a_second(
    replicas: int, running: int, waiting: int, slots: int, released: int
) -> None:
    passes = room(replicas, Load(running, waiting, slots, 2.0), released)
    assert passes == 0 or running + waiting + released + passes <= slots + 2
