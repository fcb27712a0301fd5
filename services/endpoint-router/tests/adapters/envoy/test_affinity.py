"""Which requests are held together, and which replica takes them."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.testing.native import call

GRANT = "team/chat/alice/lease1"
LIMIT = 125


def key(prompt: str = "", *, session: str | None = None, setting: str = "1024", grant: str = GRANT) -> bytes | None:
    name = None if session is None else session.encode()
    return call("affinity_key", setting.encode(), grant.encode(), name, prompt.encode())[0]


def messages(*contents: str, system: str = "Be brief.") -> str:
    turns = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]
    return json.dumps([{"role": "system", "content": system}, *turns])


@dataclass
class Replica:
    port: int
    weight: int = 100
    load: int = 0
    room: int = 0
    avoided: bool = False

    def __bytes__(self) -> bytes:
        return f"10.0.0.1:{self.port} {self.weight} {self.load} {self.room} {int(self.avoided)}".encode()


def choose(replicas: Sequence[Replica], key: int | None = None, turn: int = 0, limit: int = LIMIT) -> Replica | None:
    wanted = None if key is None else b"%d" % key
    (found,) = call("affinity_choose", b"%d" % limit, wanted, b"%d" % turn, *map(bytes, replicas))
    return None if found is None else replicas[int(found)]


def test_later_turns_of_a_conversation_have_its_key() -> None:
    assert key(messages("hi")) == key(messages("hi", "hello", "and then?"))
    assert len({key(messages("hi")), key(messages("ho")), key(messages("hi", system="Be long."))}) == 3


def test_a_prompt_is_held_together_by_its_beginning() -> None:
    document = "x" * 2000
    assert key(messages("hi", system=document)) == key(messages("ho", system=document))
    assert key(json.dumps(document + "a")) == key(json.dumps(document + "b"))
    assert key(messages("hi", system=document), setting="4096") != key(messages("ho", system=document), setting="4096")


def test_messages_of_any_shape_have_a_key() -> None:
    odd = ["[1, 2]", '[{"role": 1}]', "[{}]", '[{"content": "x"}, {"role": "user"}]', '["a", "b"]', '[{"role":"user"']
    assert len(odd) == len({key(text) for text in odd} - {None})


def test_a_session_comes_before_the_prompt_and_belongs_to_its_token() -> None:
    assert key("a", session="s") == key("b", session="s") != key("a", session="t")
    assert key("a", session="s") != key("a", session="s", grant="team/chat/bob/lease1")
    assert key("a", session="s") == key("a", session="s", grant="team/chat/alice/lease2")
    assert key("a", session="") == key("a")


def test_a_prompt_is_that_of_the_endpoint() -> None:
    assert key("a") == key("a", grant="team/chat/bob/lease9") != key("a", grant="team/other/alice/lease1")


def test_nothing_to_hold_together_by_is_no_key() -> None:
    assert (None, None) == (key("a", setting="0"), key(""))


def test_keys_are_spread_evenly() -> None:
    replicas = [Replica(port) for port in range(8)]
    found = Counter(choose(replicas, int(key(f"prompt {n}") or b"")).port for n in range(4000))  # type: ignore[union-attr]
    assert 0.8 * 500 < min(found.values()) <= max(found.values()) < 1.2 * 500


def test_a_replica_that_goes_moves_only_its_own_keys() -> None:
    replicas = [Replica(port) for port in range(8)]
    before = {n: choose(replicas, n) for n in range(1000)}
    after = {n: choose(replicas[:-1], n) for n in range(1000)}
    assert all(after[n] is before[n] for n in before if before[n] is not replicas[-1])


@given(st.lists(st.integers(1, 100_000), min_size=2, max_size=8), st.integers(0, 2**64 - 1))
def test_other_shares_move_no_key_of_an_idle_endpoint(weights: list[int], key: int) -> None:
    even = choose([Replica(port) for port in range(len(weights))], key)
    other = choose([Replica(port, weight) for port, weight in enumerate(weights)], key)
    assert even is not None
    assert other is not None
    assert even.port == other.port


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 60)), min_size=1, max_size=12), st.integers(0, 2**64 - 1)
)
def test_no_replica_gets_more_than_its_part_of_the_load(loads: list[tuple[int, int]], key: int) -> None:
    replicas = [Replica(port, weight, load) for port, (weight, load) in enumerate(loads)]
    found = choose(replicas, key)
    assert found is not None
    total, weights = sum(load for _, load in loads) + 1, sum(weight for weight, _ in loads)
    if weights:
        assert found.load < max(1, LIMIT / 100 * total * found.weight / weights)


def test_a_replica_with_free_slots_is_not_busy() -> None:
    first = choose([Replica(port) for port in range(4)], 7)
    assert first is not None
    replicas = [Replica(port, load=3 if port == first.port else 0, room=4) for port in range(4)]
    assert choose(replicas, 7) is replicas[first.port]
    replicas[first.port].load = 4
    assert choose(replicas, 7) is not replicas[first.port]


def test_without_a_key_the_least_loaded_replica_for_its_share_is_chosen() -> None:
    replicas = [Replica(0, 300, 3), Replica(1, 100, 2), Replica(2, 100, 1)]
    assert choose(replicas) is replicas[0]
    assert {0, 1, 2} == {found.port for n in range(30) if (found := choose([Replica(p) for p in range(3)], turn=n))}


def test_a_replica_where_the_request_failed_is_the_last_choice() -> None:
    replicas = [Replica(0, load=50), Replica(1, avoided=True)]
    assert {0} == {found.port for n in range(8) if (found := choose(replicas, n))}
    assert choose(replicas[1:], 1) is replicas[1]
    assert choose([], 1) is None
