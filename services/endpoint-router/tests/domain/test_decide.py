"""Decisions: a table of cases, and properties that hold for all."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arks.endpoint_router.domain import (
    WHOLE,
    Application,
    Decision,
    EndpointSpec,
    Facts,
    Reading,
    Reason,
    Replica,
    ReplicaId,
    Signals,
    Source,
    State,
    StaticRoute,
    decide,
    observe,
)
from arks.endpoint_router.domain.load import Pace
from arks.endpoint_router.domain.scores import LARGEST, STEP

NOW = 1_000.0
SPEC = EndpointSpec("team", "chat")


def replica(name: str, application: str = "a", state: State = State.READY, port: int = 0, slots: int = 0) -> Replica:
    number = port or 9000 + int(name.rsplit("-", 1)[-1]) + 100 * (ord(application[0]) - ord("a"))
    return Replica(ReplicaId(application, name), "127.0.0.1", number, state, slots)


def applications(*replicas: Replica) -> dict[str, Application]:
    names = {one.id.application for one in replicas}
    return {
        name: Application(name, "chat", tuple(one for one in replicas if one.id.application == name)) for name in names
    }


def learned(reading: Reading) -> Signals:
    """As after a long time of readings like this one."""
    running = reading.running or 1.0
    return Signals(
        reading,
        learned_at=NOW,
        busy_at=NOW,
        busy_seconds=60.0,
        mean_waiting=reading.waiting or 0.0,
        tokens=Pace(60.0, running, reading.token_rate or 0.0),
        requests=Pace(60.0, running, reading.drain_rate or 0.0),
    )


def busy(running: float = 2.0, waiting: float = 0.0, drain_rate: float | None = None, age: float = 0.1) -> Signals:
    return learned(Reading(NOW - age, running, waiting, drain_rate))


def idle(drain_rate: float | None = None) -> Signals:
    return busy(0.0, 0.0, drain_rate)


def weights(decision: Decision) -> dict[str, int]:
    return {one.replica.id.name: one.weight for one in decision.candidates}


def words(decision: Decision) -> dict[str, str]:
    return {one.replica.id.name: one.words(NOW) for one in decision.candidates}


def converge(facts: Facts, spec: EndpointSpec = SPEC, steps: int = 60) -> Decision:
    decision = decide(spec, facts)
    for _ in range(steps):
        decision = decide(spec, replace(facts, before=decision.scores))
    return decision


def test_without_load_reports_all_are_equal_and_the_source_says_so() -> None:
    decision = decide(SPEC, Facts(applications(replica("r-0"), replica("r-1")), now=NOW))
    assert ({"r-0": 50_000, "r-1": 50_000}, Source.EQUAL) == (weights(decision), decision.source)


def test_places_count_when_there_are_no_signals() -> None:
    decision = decide(SPEC, Facts(applications(replica("r-0", slots=1), replica("r-1", slots=3)), now=NOW))
    assert ({"r-0": 10_000, "r-1": 90_000}, Source.STATIC) == (weights(decision), decision.source)


def test_a_replica_that_drains_twice_as_fast_has_twice_the_capacity_and_its_square_as_weight() -> None:
    fast, slow = replica("r-0"), replica("r-1")
    signals = {fast.id: busy(4, drain_rate=8), slow.id: busy(4, drain_rate=4)}
    decision = decide(SPEC, Facts(applications(fast, slow), signals, now=NOW))
    assert ({"r-0": 80_000, "r-1": 20_000}, Source.ENGINE) == (weights(decision), decision.source)


def test_where_engines_count_no_requests_tokens_tell_the_fast_one() -> None:
    fast, slow = replica("r-0"), replica("r-1")
    signals = {
        fast.id: learned(Reading(NOW, 2, 0, token_rate=60)),
        slow.id: learned(Reading(NOW, 2, 0, token_rate=20)),
    }
    assert {"r-0": 90_000, "r-1": 10_000} == weights(decide(SPEC, Facts(applications(fast, slow), signals, now=NOW)))


def test_speeds_in_requests_and_in_tokens_are_not_compared() -> None:
    requests, tokens = replica("r-0"), replica("r-1")
    signals = {requests.id: busy(2, drain_rate=2), tokens.id: learned(Reading(NOW, 2, 0, token_rate=60))}
    assert {50_000} == set(weights(decide(SPEC, Facts(applications(requests, tokens), signals, now=NOW))).values())


def test_three_fast_replicas_stay_equal_beside_a_slow_one() -> None:
    replicas = [replica(f"r-{n}") for n in range(4)]
    rates = [8.3, 8.0, 7.4, 2.0]
    signals = {one.id: busy(4, drain_rate=rate) for one, rate in zip(replicas, rates, strict=True)}
    found = weights(decide(SPEC, Facts(applications(*replicas), signals, now=NOW)))
    assert 1 == len({found["r-0"], found["r-1"], found["r-2"]})
    assert 14 < found["r-0"] / found["r-3"] < 18


def test_noise_of_some_percent_leaves_replicas_equal() -> None:
    replicas = [replica(f"r-{n}") for n in range(3)]
    signals = {one.id: busy(4, drain_rate=8 + n / 2) for n, one in enumerate(replicas)}
    assert {33_333} == set(weights(decide(SPEC, Facts(applications(*replicas), signals, now=NOW))).values())


def test_a_queue_lowers_the_weight() -> None:
    free, queued = replica("r-0"), replica("r-1")
    signals = {free.id: busy(4, drain_rate=4), queued.id: busy(4, waiting=20, drain_rate=4)}
    found = weights(decide(SPEC, Facts(applications(free, queued), signals, now=NOW)))
    assert 3.9 < found["r-0"] / found["r-1"] < 4.1


def test_a_full_kv_cache_lowers_the_weight() -> None:
    free, full = replica("r-0"), replica("r-1")
    signals = {
        free.id: learned(Reading(NOW, 4, 0, 4, kv_usage=0.5)),
        full.id: learned(Reading(NOW, 4, 0, 4, kv_usage=1.0)),
    }
    found = weights(decide(SPEC, Facts(applications(free, full), signals, now=NOW)))
    assert 3.9 < found["r-0"] / found["r-1"] < 4.1


def test_the_same_queue_everywhere_changes_nothing() -> None:
    replicas = [replica(f"r-{n}") for n in range(2)]
    signals = {one.id: busy(4, waiting=50, drain_rate=4) for one in replicas}
    assert {50_000} == set(weights(decide(SPEC, Facts(applications(*replicas), signals, now=NOW))).values())


@pytest.mark.parametrize("state", [State.STARTING, State.DRAINING, State.FAILED])
def test_only_ready_replicas_get_traffic(state: State) -> None:
    decision = decide(SPEC, Facts(applications(replica("r-0"), replica("r-1", state=state)), now=NOW))
    assert {"r-0": WHOLE, "r-1": 0} == weights(decision)


def test_without_a_ready_replica_the_endpoint_says_so() -> None:
    decision = decide(SPEC, Facts(applications(replica("r-0", state=State.STARTING)), now=NOW))
    assert (Reason.NO_READY_REPLICAS, "no replica can take a request: a (0 of 1 replicas ready, 0%)") == (
        decision.reason,
        decision.message,
    )


def test_without_an_application_the_endpoint_says_so() -> None:
    decision = decide(SPEC, Facts({}, now=NOW))
    assert (Reason.NO_APPLICATION, "no application serves the model chat in namespace team") == (
        decision.reason,
        decision.message,
    )


CANARY = EndpointSpec(
    "team", "chat", 90, (StaticRoute("arks-application-b", weight=10), StaticRoute("arks-application-c", weight=0))
)


def test_shares_come_first_however_many_replicas_an_application_has() -> None:
    decision = decide(CANARY, Facts(applications(replica("r-0"), *(replica(f"s-{n}", "b") for n in range(5))), now=NOW))
    assert {"r-0": 90_000, "s-0": 2_000, "s-1": 2_000, "s-2": 2_000, "s-3": 2_000, "s-4": 2_000} == weights(decision)
    assert Source.STATIC == decision.source


def test_an_application_without_ready_replicas_leaves_its_share_to_the_others() -> None:
    facts = Facts(applications(replica("r-0", state=State.FAILED), replica("s-0", "b")), now=NOW)
    assert {"r-0": 0, "s-0": WHOLE} == weights(decide(CANARY, facts))


def test_weight_0_means_no_traffic_even_when_nothing_else_is_ready() -> None:
    decision = decide(CANARY, Facts(applications(replica("t-0", "c")), now=NOW))
    assert ({"t-0": 0}, Reason.NO_READY_REPLICAS) == (weights(decision), decision.reason)
    assert "weight 0: c" in decision.message


def test_load_does_not_move_traffic_between_applications() -> None:
    slow, fast = replica("r-0"), replica("s-0", "b")
    signals = {slow.id: busy(4, waiting=100, drain_rate=1), fast.id: idle(100)}
    assert {"r-0": 90_000, "s-0": 10_000} == weights(decide(CANARY, Facts(applications(slow, fast), signals, now=NOW)))


def test_two_replicas_that_claim_one_address_are_routed_once() -> None:
    twice = applications(replica("r-0", port=9000, state=State.STARTING), replica("r-1", port=9000))
    again = applications(replica("r-1", port=9000), replica("r-2", port=9000))
    assert {"r-0": 0, "r-1": WHOLE} == weights(decide(SPEC, Facts(twice, now=NOW)))
    assert {"r-1": WHOLE, "r-2": 0} == weights(decide(SPEC, Facts(again, now=NOW)))


def test_an_address_that_envoy_would_refuse_is_left_out() -> None:
    named = replace(replica("r-0"), host="engine.local")
    decision = decide(SPEC, Facts(applications(named, replica("r-1")), now=NOW))
    assert ({"r-0": 0, "r-1": WHOLE}, "'engine.local:9000' is not an IP address and port") == (
        weights(decision),
        words(decision)["r-0"],
    )


def test_reasons_name_the_evidence() -> None:
    fast, slow, mute = replica("r-0"), replica("r-1"), replica("r-2")
    signals = {fast.id: busy(4, drain_rate=8), slow.id: busy(4, waiting=6, drain_rate=3)}
    decision = decide(SPEC, Facts(applications(fast, slow, mute), signals, now=NOW))
    assert {
        "r-0": "2.04 times an even share among 3 replicas; 4 running, 0 waiting, 2.00 requests/s a place, 0.1 s ago",
        "r-1": "0.15 times an even share among 3 replicas; "
        "4 running, 6 waiting (lately 2.0 s of work), 0.75 requests/s a place, 0.1 s ago",
        "r-2": "0.82 times an even share among 3 replicas; "
        "no load was reported, so it counts as average at best, not as idle",
    } == words(decision)


def test_a_stale_reading_does_not_look_idle() -> None:
    stale, working = replica("r-0"), replica("r-1")
    signals = {stale.id: busy(0, age=60.0), working.id: busy(4, drain_rate=4)}
    assert {50_000} == set(weights(decide(SPEC, Facts(applications(stale, working), signals, now=NOW))).values())


def test_when_all_signals_are_lost_weights_return_to_equal_in_steps() -> None:
    replicas = [replica("r-0"), replica("r-1")]
    facts = Facts(applications(*replicas), before={replicas[0].id: 1.6, replicas[1].id: 0.4}, now=NOW)
    first = decide(SPEC, facts)
    assert {"r-0": 1.067, "r-1": 0.6} == {one.name: score for one, score in first.scores.items()}
    assert not first.settled
    last = converge(facts)
    assert ({50_000}, True) == (set(weights(last).values()), last.settled)


def test_a_restarted_replica_is_not_held_to_what_it_was() -> None:
    old, other = replica("r-0"), replica("r-1")
    new = replace(old, id=replace(old.id, restarts=1))
    facts = Facts(applications(new, other), {old.id: busy(9, 90, 0.1)}, {old.id: 0.1, other.id: 1.0}, NOW)
    assert {50_000} == set(weights(decide(SPEC, facts)).values())


# --- properties

numbers = st.floats(min_value=0, max_value=50) | st.just(0.0)
hostile = st.floats(allow_nan=True, allow_infinity=True) | st.none()
readings = st.builds(
    Reading,
    measured_at=st.floats(min_value=NOW - 10, max_value=NOW + 5),
    running=numbers | hostile,
    waiting=numbers | hostile,
    drain_rate=numbers | hostile,
    token_rate=numbers | hostile,
    kv_usage=st.floats(min_value=0, max_value=1) | hostile,
    problem=st.sampled_from(["", "", "", "unreachable"]),
)


@st.composite
def situations(draw: st.DrawFn) -> tuple[EndpointSpec, Facts]:
    names = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True))
    replicas = [
        replica(f"r-{number}", name, draw(st.sampled_from(State)), slots=draw(st.sampled_from([0, 0, 1, 4])))
        for name in names
        for number in range(draw(st.integers(1, 4)))
    ]
    signals = {
        one.id: draw(st.sampled_from([observe(None, reading), learned(reading)]))
        for one in replicas
        if (reading := draw(st.none() | readings)) is not None
    }
    scores = st.floats(min_value=1 / LARGEST, max_value=LARGEST).map(lambda score: round(score, 3))
    before = {one.id: score for one in replicas if (score := draw(st.none() | scores)) is not None}
    static = tuple(
        StaticRoute(f"arks-application-{name}", weight=draw(st.integers(1, 100)))
        for name in draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    )
    spec = EndpointSpec("team", "chat", draw(st.integers(1, 100)), static)
    return spec, Facts(applications(*replicas), signals, before, NOW)


@given(situations())
@settings(max_examples=60)
def test_a_ready_replica_always_gets_something_and_others_never(situation: tuple[EndpointSpec, Facts]) -> None:
    decision = decide(*situation)
    for one in decision.candidates:
        assert (one.replica.state is State.READY) == (one.weight > 0)


@given(situations())
@settings(max_examples=60)
def test_each_application_gets_its_share_to_within_rounding(situation: tuple[EndpointSpec, Facts]) -> None:
    spec, facts = situation
    decision = decide(spec, facts)
    configured = {
        name: next((r.weight for r in spec.routes if r.name == f"arks-application-{name}"), spec.default_weight)
        for name, application in facts.applications.items()
        if any(one.state is State.READY for one in application.replicas)
    }
    for name, weight in configured.items():
        members = [one.weight for one in decision.candidates if one.replica.id.application == name and one.weight]
        expected = WHOLE * (weight or 0) / sum(other or 0 for other in configured.values())
        assert abs(sum(members) - expected) <= len(members)


@given(situations())
@settings(max_examples=60)
def test_no_score_moves_more_than_one_step(situation: tuple[EndpointSpec, Facts]) -> None:
    spec, facts = situation
    for id_, score in decide(spec, facts).scores.items():
        if (before := facts.before.get(id_)) is not None:
            assert before / STEP - 0.001 <= score <= before * STEP + 0.001


@given(situations(), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_the_order_of_facts_does_not_matter(situation: tuple[EndpointSpec, Facts], random_: random.Random) -> None:
    spec, facts = situation

    def shuffled(application: Application) -> Application:
        members = list(application.replicas)
        random_.shuffle(members)
        return replace(application, replicas=tuple(members))

    names = list(facts.applications)
    random_.shuffle(names)
    mixed = replace(facts, applications={name: shuffled(facts.applications[name]) for name in names})
    assert decide(spec, facts) == decide(spec, mixed)


@given(situations())
@settings(max_examples=60)
def test_a_replica_without_signals_never_beats_one_that_is_measured_idle(
    situation: tuple[EndpointSpec, Facts],
) -> None:
    spec, facts = situation
    decision = decide(spec, replace(facts, before={}))
    for one in decision.candidates:
        for other in decision.candidates:
            if (
                one.weight
                and other.weight
                and one.replica.id.application == other.replica.id.application
                and one.doubt is not None
                and other.doubt is None
                and other.signals is not None
                and other.signals.reading.idle
            ):
                assert one.weight <= other.weight


@given(situations())
@settings(max_examples=30)
def test_unchanged_facts_lead_to_a_settled_decision(situation: tuple[EndpointSpec, Facts]) -> None:
    spec, facts = situation
    last = converge(facts, spec)
    again = decide(spec, replace(facts, before=last.scores))
    assert last.settled
    assert again.same_traffic(last)


@given(st.integers(2, 6), st.floats(0, 20), st.floats(0, 20), st.floats(0.1, 20))
def test_replicas_with_equal_facts_get_equal_weights(n: int, running: float, waiting: float, rate: float) -> None:
    replicas = [replica(f"r-{number}") for number in range(n)]
    signals = {one.id: busy(running, waiting, rate) for one in replicas}
    assert 1 == len(set(weights(decide(SPEC, Facts(applications(*replicas), signals, now=NOW))).values()))
