"""Decisions: a table of cases, and properties that hold for all."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arks.contracts.facts import ReplicaState
from arks.endpoint_router.domain import (
    WEIGHT_TOTAL,
    Application,
    Decision,
    DecisionInput,
    EndpointSpec,
    Reading,
    Reason,
    ReplicaId,
    RoutedReplica,
    Score,
    Signals,
    Source,
    StaticRoute,
    decide,
    observe,
)
from arks.endpoint_router.domain.load import FORGET_SECONDS
from arks.endpoint_router.domain.slots import ObservedSlots
from arks.endpoint_router.domain.speed import Work

NOW = 1_000.0
SPEC = EndpointSpec("team", "chat")


def replica(
    name: str, application: str = "a", state: ReplicaState = ReplicaState.READY, port: int = 0, slots: int = 0
) -> RoutedReplica:
    number = port or 9000 + int(name.rsplit("-", 1)[-1]) + 100 * (ord(application[0]) - ord("a"))
    return RoutedReplica(ReplicaId(application, name), "127.0.0.1", number, state, slots)


def applications(*replicas: RoutedReplica) -> dict[str, Application]:
    names = {replica_.id.application for replica_ in replicas}
    return {
        name: Application(name, "chat", tuple(replica_ for replica_ in replicas if replica_.id.application == name))
        for name in names
    }


def learned(reading: Reading) -> Signals:
    """Return signals after a long time of readings like `reading`."""
    running = reading.running or 1.0
    return Signals(
        reading,
        updated_at=NOW,
        busy_at=NOW,
        busy_seconds=60.0,
        mean_waiting=reading.waiting or 0.0,
        mean_in_flight=reading.in_flight,
        tokens=Work(60.0, 60.0 * running, 60.0 * (reading.token_rate or 0.0)),
        requests=Work(60.0, 60.0 * running, 60.0 * (reading.drain_rate or 0.0)),
        observed_slots=ObservedSlots(most_running=running),
    )


def busy(running: float = 2.0, waiting: float = 0.0, drain_rate: float | None = None, age: float = 0.1) -> Signals:
    return learned(Reading(NOW - age, running, waiting, drain_rate))


def idle(drain_rate: float | None = None) -> Signals:
    return busy(0.0, 0.0, drain_rate)


def weights(decision: Decision) -> dict[str, int]:
    return {candidate.replica.id.name: candidate.weight for candidate in decision.candidates}


def explanations(decision: Decision) -> dict[str, str]:
    return {candidate.replica.id.name: candidate.explanation(NOW) for candidate in decision.candidates}


def converge(inputs: DecisionInput, spec: EndpointSpec = SPEC, steps: int = 60) -> Decision:
    decision = decide(spec, inputs)
    for _ in range(steps):
        decision = decide(spec, replace(inputs, before=decision.scores))
    return decision


def test_without_load_reports_weights_and_source_are_equal() -> None:
    decision = decide(SPEC, DecisionInput(applications(replica("r-0"), replica("r-1")), now=NOW))
    assert ({"r-0": 50_000, "r-1": 50_000}, Source.EQUAL) == (weights(decision), decision.source)


def test_slots_count_without_signals() -> None:
    decision = decide(SPEC, DecisionInput(applications(replica("r-0", slots=1), replica("r-1", slots=3)), now=NOW))
    assert ({"r-0": 24_763, "r-1": 75_237}, Source.STATIC) == (weights(decision), decision.source)


def test_at_full_load_a_replica_that_drains_twice_as_fast_gets_twice_the_traffic() -> None:
    fast, slow = replica("r-0"), replica("r-1")
    signals = {fast.id: busy(4, drain_rate=8), slow.id: busy(4, drain_rate=4)}
    decision = decide(SPEC, DecisionInput(applications(fast, slow), signals, now=NOW))
    assert ({"r-0": 66_832, "r-1": 33_168}, Source.ENGINE) == (weights(decision), decision.source)


def test_with_room_everywhere_a_slow_replica_gets_less_than_its_proportion() -> None:
    fast, slow = replica("r-0", slots=16), replica("r-1", slots=16)
    signals = {fast.id: busy(8, drain_rate=16), slow.id: busy(8, drain_rate=8)}
    decision = decide(SPEC, DecisionInput(applications(fast, slow), signals, now=NOW))
    assert weights(decision)["r-1"] < 20_000 < WEIGHT_TOTAL / 3


def test_replicas_that_are_alike_are_one_group_with_equal_weights() -> None:
    replicas = [replica(f"r-{n}", slots=16 if n < 3 else 4) for n in range(4)]
    decision = decide(SPEC, DecisionInput(applications(*replicas), now=NOW))
    assert [("a", 3), ("a/2", 1)] == [(group.name, group.replicas) for group in decision.groups]
    assert WEIGHT_TOTAL == sum(group.weight for group in decision.groups)
    assert 1 == len({weights(decision)[f"r-{n}"] for n in range(3)})


def test_requests_that_wait_show_the_slots_at_the_first_report() -> None:
    replicas = [replica(f"r-{n}") for n in range(4)]
    readings = [Reading(NOW, 9, 0), Reading(NOW, 9, 0), Reading(NOW, 10, 0), Reading(NOW, 4, 5)]
    signals = {each.id: observe(None, reading) for each, reading in zip(replicas, readings, strict=True)}
    decision = decide(SPEC, DecisionInput(applications(*replicas), signals, now=NOW))
    assert [("a", 3), ("a/2", 1)] == [(group.name, group.replicas) for group in decision.groups]
    assert weights(decision)["r-3"] < 100


def test_a_group_keeps_its_name_while_most_of_its_members_stay() -> None:
    replicas = [replica(f"r-{n}", slots=4 if n < 2 else 16) for n in range(4)]
    few = decide(SPEC, DecisionInput(applications(*replicas[:3]), now=NOW))
    more = decide(SPEC, DecisionInput(applications(*replicas), before=few.scores, now=NOW))
    names = {candidate.replica.id.name: candidate.group for candidate in few.candidates}
    assert names.items() <= {candidate.replica.id.name: candidate.group for candidate in more.candidates}.items()


def test_replicas_that_were_alike_part_only_at_a_greater_difference() -> None:
    fast, slow = replica("r-0"), replica("r-1")

    def groups(rate: float, before: Decision | None) -> int:
        signals = {fast.id: busy(4, drain_rate=8), slow.id: busy(4, drain_rate=rate)}
        scores = before.scores if before is not None else {}
        return len(decide(SPEC, DecisionInput(applications(fast, slow), signals, scores, now=NOW)).groups)

    together = decide(SPEC, DecisionInput(applications(fast, slow), now=NOW))
    assert (2, 1, 2) == (groups(5.5, None), groups(5.5, together), groups(4.0, together))


def test_a_share_stays_while_the_wanted_one_differs_by_little() -> None:
    fast, slow = replica("r-0"), replica("r-1")

    def decided(rate: float, before: Decision | None) -> Decision:
        signals = {fast.id: busy(4, drain_rate=8), slow.id: busy(4, drain_rate=rate)}
        scores = before.scores if before is not None else {}
        return decide(SPEC, DecisionInput(applications(fast, slow), signals, scores, now=NOW))

    first = decided(2.0, None)
    assert weights(first) == weights(decided(2.1, first)) != weights(decided(2.6, first))


def test_token_rates_count_if_engines_report_no_drain_rate() -> None:
    fast, slow = replica("r-0"), replica("r-1")
    signals = {
        fast.id: learned(Reading(NOW, 2, 0, token_rate=60)),
        slow.id: learned(Reading(NOW, 2, 0, token_rate=20)),
    }
    found = weights(decide(SPEC, DecisionInput(applications(fast, slow), signals, now=NOW)))
    assert 2.9 < found["r-0"] / found["r-1"] < 3.2


def test_speeds_in_requests_and_in_tokens_are_not_compared() -> None:
    requests, tokens = replica("r-0"), replica("r-1")
    signals = {requests.id: busy(2, drain_rate=2), tokens.id: learned(Reading(NOW, 2, 0, token_rate=60))}
    assert {50_000} == set(
        weights(decide(SPEC, DecisionInput(applications(requests, tokens), signals, now=NOW))).values()
    )


def test_three_fast_replicas_stay_equal_beside_a_slow_one() -> None:
    replicas = [replica(f"r-{n}") for n in range(4)]
    rates = [8.3, 8.0, 7.4, 2.0]
    signals = {replica_.id: busy(4, drain_rate=rate) for replica_, rate in zip(replicas, rates, strict=True)}
    found = weights(decide(SPEC, DecisionInput(applications(*replicas), signals, now=NOW)))
    assert 1 == len({found["r-0"], found["r-1"], found["r-2"]})
    assert 3.9 < found["r-0"] / found["r-3"] < 4.5


def test_replicas_that_differ_by_noise_stay_equal() -> None:
    replicas = [replica(f"r-{n}") for n in range(3)]
    signals = {replica_.id: busy(4, drain_rate=8 + n / 2) for n, replica_ in enumerate(replicas)}
    assert {33_333} == set(weights(decide(SPEC, DecisionInput(applications(*replicas), signals, now=NOW))).values())


def test_a_queue_sends_new_requests_to_other_groups_at_once() -> None:
    free, queued = replica("r-0", slots=16), replica("r-1", slots=4)
    signals = {free.id: busy(15, drain_rate=15), queued.id: busy(4, drain_rate=1)}
    calm = decide(SPEC, DecisionInput(applications(free, queued), signals, now=NOW))
    signals[queued.id] = observe(signals[queued.id], Reading(NOW, 4, 2))
    after = decide(SPEC, DecisionInput(applications(free, queued), signals, calm.scores, now=NOW))
    assert 4_000 < weights(calm)["r-1"]
    assert 10 > weights(after)["r-1"]


def test_the_queue_of_a_large_group_does_not_bury_a_small_one() -> None:
    large, small = replica("r-0", slots=48), replica("r-1", slots=4)
    signals = {large.id: busy(48, waiting=24, drain_rate=48), small.id: busy(2, drain_rate=0.5)}
    found = weights(decide(SPEC, DecisionInput(applications(large, small), signals, now=NOW)))
    assert found["r-1"] <= 1.5 * WEIGHT_TOTAL / 49


def test_a_full_kv_cache_lowers_the_capacity_of_its_group() -> None:
    large, small = replica("r-0", slots=16), replica("r-1", slots=4)

    def weight(kv_usage: float) -> int:
        signals = {
            large.id: learned(Reading(NOW, 16, 0, 16, kv_usage=0.5)),
            small.id: learned(Reading(NOW, 4, 0, 4, kv_usage=kv_usage)),
        }
        return weights(decide(SPEC, DecisionInput(applications(large, small), signals, now=NOW)))["r-1"]

    assert weight(0.9) == weight(0.5)
    assert 1.8 < weight(0.5) / weight(1.0) < 2.3


def test_the_same_queue_everywhere_changes_nothing() -> None:
    replicas = [replica(f"r-{n}") for n in range(2)]
    signals = {replica_.id: busy(4, waiting=50, drain_rate=4) for replica_ in replicas}
    assert {50_000} == set(weights(decide(SPEC, DecisionInput(applications(*replicas), signals, now=NOW))).values())


@pytest.mark.parametrize("state", [ReplicaState.STARTING, ReplicaState.DRAINING, ReplicaState.FAILED])
def test_only_ready_replicas_get_traffic(state: ReplicaState) -> None:
    decision = decide(SPEC, DecisionInput(applications(replica("r-0"), replica("r-1", state=state)), now=NOW))
    assert {"r-0": WEIGHT_TOTAL, "r-1": 0} == weights(decision)


def test_without_a_ready_replica_the_endpoint_is_not_ready() -> None:
    decision = decide(SPEC, DecisionInput(applications(replica("r-0", state=ReplicaState.STARTING)), now=NOW))
    assert (Reason.NO_READY_REPLICAS, "no ready replicas: a (0 of 1 replicas ready, 0%)") == (
        decision.reason,
        decision.message,
    )


def test_without_an_application_the_endpoint_is_not_ready() -> None:
    decision = decide(SPEC, DecisionInput({}, now=NOW))
    assert (Reason.NO_APPLICATION, "no application serves the model chat in namespace team") == (
        decision.reason,
        decision.message,
    )


CANARY = EndpointSpec(
    "team", "chat", 90, (StaticRoute("arks-application-b", weight=10), StaticRoute("arks-application-c", weight=0))
)


def test_shares_come_first_however_many_replicas_an_application_has() -> None:
    decision = decide(
        CANARY, DecisionInput(applications(replica("r-0"), *(replica(f"s-{n}", "b") for n in range(5))), now=NOW)
    )
    assert {"r-0": 90_000, "s-0": 2_000, "s-1": 2_000, "s-2": 2_000, "s-3": 2_000, "s-4": 2_000} == weights(decision)
    assert Source.STATIC == decision.source


def test_the_share_of_an_application_without_ready_replicas_goes_to_the_others() -> None:
    inputs = DecisionInput(applications(replica("r-0", state=ReplicaState.FAILED), replica("s-0", "b")), now=NOW)
    assert {"r-0": 0, "s-0": WEIGHT_TOTAL} == weights(decide(CANARY, inputs))


def test_weight_0_means_no_traffic_even_if_nothing_else_is_ready() -> None:
    decision = decide(CANARY, DecisionInput(applications(replica("t-0", "c")), now=NOW))
    assert ({"t-0": 0}, Reason.NO_READY_REPLICAS) == (weights(decision), decision.reason)
    assert "weight 0: c" in decision.message


def test_load_does_not_move_traffic_between_applications() -> None:
    slow, fast = replica("r-0"), replica("s-0", "b")
    signals = {slow.id: busy(4, waiting=100, drain_rate=1), fast.id: idle(100)}
    assert {"r-0": 90_000, "s-0": 10_000} == weights(
        decide(CANARY, DecisionInput(applications(slow, fast), signals, now=NOW))
    )


def test_two_replicas_with_one_address_are_routed_once() -> None:
    twice = applications(replica("r-0", port=9000, state=ReplicaState.STARTING), replica("r-1", port=9000))
    again = applications(replica("r-1", port=9000), replica("r-2", port=9000))
    assert {"r-0": 0, "r-1": WEIGHT_TOTAL} == weights(decide(SPEC, DecisionInput(twice, now=NOW)))
    assert {"r-1": WEIGHT_TOTAL, "r-2": 0} == weights(decide(SPEC, DecisionInput(again, now=NOW)))


def test_an_address_that_envoy_would_reject_is_omitted() -> None:
    named = replace(replica("r-0"), host="engine.local")
    decision = decide(SPEC, DecisionInput(applications(named, replica("r-1")), now=NOW))
    assert ({"r-0": 0, "r-1": WEIGHT_TOTAL}, "'engine.local:9000' is not an IP address and port") == (
        weights(decision),
        explanations(decision)["r-0"],
    )


def test_reasons_name_the_evidence() -> None:
    fast, slow, mute = replica("r-0"), replica("r-1"), replica("r-2")
    signals = {fast.id: busy(4, drain_rate=8), slow.id: busy(4, waiting=6, drain_rate=3)}
    decision = decide(SPEC, DecisionInput(applications(fast, slow, mute), signals, now=NOW))
    assert {
        "r-0": "1.78 times an even share among 3 replicas; 4 running, 0 waiting, 2.00 requests/s a slot, 0.1 s ago",
        "r-1": "0.00 times an even share among 3 replicas, in group a/3; "
        "4 running, 6 waiting (lately 2.0 s of work), 0.75 requests/s a slot, 0.1 s ago",
        "r-2": "1.22 times an even share among 3 replicas, in group a/2; no load was reported; it counts by its slots",
    } == explanations(decision)


def test_a_stale_reading_does_not_look_idle() -> None:
    stale, working = replica("r-0"), replica("r-1")
    signals = {stale.id: busy(0, age=60.0), working.id: busy(4, drain_rate=4)}
    assert {50_000} == set(
        weights(decide(SPEC, DecisionInput(applications(stale, working), signals, now=NOW))).values()
    )


def test_what_was_measured_holds_while_reports_are_missing_and_is_forgotten_later() -> None:
    fast, slow = replica("r-0"), replica("r-1")
    signals = {fast.id: busy(4, drain_rate=8), slow.id: busy(4, drain_rate=2)}
    fresh = DecisionInput(applications(fast, slow), signals, now=NOW)
    later, much_later = replace(fresh, now=NOW + 60), replace(fresh, now=NOW + FORGET_SECONDS + 1)
    assert (weights(decide(SPEC, fresh)), Source.ENGINE) == (weights(decide(SPEC, later)), decide(SPEC, later).source)
    last = decide(SPEC, much_later)
    assert ({50_000}, Source.EQUAL) == (set(weights(last).values()), last.source)


def test_after_a_start_groups_and_shares_hold_until_the_first_load_report() -> None:
    fast, slow = replica("r-0"), replica("r-1")
    before = {fast.id: Score(1.6, 1.6, "a", 0.8), slow.id: Score(0.4, 0.4, "a/2", 0.2)}
    held = DecisionInput(applications(fast, slow), before=before, hold=True, now=NOW)
    assert ({"r-0": 80_000, "r-1": 20_000}, True) == (weights(decide(SPEC, held)), decide(SPEC, held).held)
    ended = decide(SPEC, replace(held, hold=False))
    assert ({50_000}, False) == (set(weights(ended).values()), ended.held)


def test_a_restarted_replica_starts_without_what_was_measured_before() -> None:
    old, other = replica("r-0"), replica("r-1")
    new = replace(old, id=ReplicaId(old.id.application, old.id.name, restarts=1))
    before = {old.id: Score(0.1, 0.1, "a/2", 0.05), other.id: Score(1.9, 1.9, "a", 0.95)}
    inputs = DecisionInput(applications(new, other), {old.id: busy(9, 90, 0.1)}, before, now=NOW)
    assert {50_000} == set(weights(decide(SPEC, inputs)).values())


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
def situations(draw: st.DrawFn) -> tuple[EndpointSpec, DecisionInput]:
    names = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True))
    replicas = [
        replica(f"r-{number}", name, draw(st.sampled_from(ReplicaState)), slots=draw(st.sampled_from([0, 0, 1, 4])))
        for name in names
        for number in range(draw(st.integers(1, 4)))
    ]
    signals = {
        replica_.id: draw(st.sampled_from([observe(None, reading), learned(reading)]))
        for replica_ in replicas
        if (reading := draw(st.none() | readings)) is not None
    }
    scores = st.builds(
        Score,
        value=st.floats(0, 4),
        target=st.floats(0, 4),
        group=st.sampled_from(["a", "a/2", "b", "b/3"]),
        share=st.floats(0, 1),
    )
    before = {replica_.id: score for replica_ in replicas if (score := draw(st.none() | scores)) is not None}
    static = tuple(
        StaticRoute(f"arks-application-{name}", weight=draw(st.integers(1, 100)))
        for name in draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    )
    spec = EndpointSpec("team", "chat", draw(st.integers(1, 100)), static)
    return spec, DecisionInput(applications(*replicas), signals, before, now=NOW)


@given(situations())
@settings(max_examples=60)
def test_ready_replicas_always_get_traffic_and_others_never(situation: tuple[EndpointSpec, DecisionInput]) -> None:
    decision = decide(*situation)
    for candidate in decision.candidates:
        assert (candidate.replica.state is ReplicaState.READY) == (candidate.weight > 0)


@given(situations())
@settings(max_examples=60)
def test_each_application_gets_its_share_to_within_rounding(situation: tuple[EndpointSpec, DecisionInput]) -> None:
    spec, inputs = situation
    decision = decide(spec, inputs)
    configured = {
        name: next((r.weight for r in spec.routes if r.name == f"arks-application-{name}"), spec.default_weight)
        for name, application in inputs.applications.items()
        if any(replica_.state is ReplicaState.READY for replica_ in application.replicas)
    }
    for name, weight in configured.items():
        groups = [group.weight for group in decision.groups if group.application == name]
        expected = WEIGHT_TOTAL * (weight or 0) / sum(other or 0 for other in configured.values())
        assert abs(sum(groups) - expected) <= 1


@given(situations())
@settings(max_examples=60)
def test_members_of_a_group_have_equal_weights_and_groups_have_names_of_their_own(
    situation: tuple[EndpointSpec, DecisionInput],
) -> None:
    decision = decide(*situation)
    found = {group.name: group for group in decision.groups}
    assert len(decision.groups) == len(found)
    for candidate in decision.candidates:
        if candidate.weight:
            group = found[candidate.group]
            assert (group.replica_weight, group.application) == (candidate.weight, candidate.replica.id.application)


@given(situations(), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_the_order_of_facts_does_not_matter(
    situation: tuple[EndpointSpec, DecisionInput], random_: random.Random
) -> None:
    spec, inputs = situation

    def shuffled(application: Application) -> Application:
        members = list(application.replicas)
        random_.shuffle(members)
        return replace(application, replicas=tuple(members))

    names = list(inputs.applications)
    random_.shuffle(names)
    mixed = replace(inputs, applications={name: shuffled(inputs.applications[name]) for name in names})
    assert decide(spec, inputs) == decide(spec, mixed)


@given(situations())
@settings(max_examples=60)
def test_a_replica_without_signals_never_beats_all_that_are_measured(
    situation: tuple[EndpointSpec, DecisionInput],
) -> None:
    spec, inputs = situation
    calm = {
        id_: signals
        for id_, signals in inputs.signals.items()
        if not signals.reading.waiting and not signals.reading.kv_usage
    }
    decision = decide(spec, replace(inputs, before={}, signals=calm))
    for candidate in decision.candidates:
        peers = [
            other
            for other in decision.candidates
            if other.weight and other.replica.id.application == candidate.replica.id.application
        ]
        measured = [other for other in peers if other.doubt is None and other.replica.slots >= candidate.replica.slots]
        if candidate.weight and candidate.signals is None and len(measured) == len(peers) - 1 and measured:
            assert candidate.weight <= max(other.weight for other in measured) + 1


@given(situations())
@settings(max_examples=30)
def test_unchanged_inputs_lead_to_a_settled_decision(situation: tuple[EndpointSpec, DecisionInput]) -> None:
    spec, inputs = situation
    last = converge(inputs, spec, steps=3)
    assert decide(spec, replace(inputs, before=last.scores)).same_traffic(last)


def test_requests_carry_the_name_that_most_engines_serve() -> None:
    spec = EndpointSpec(
        "team", "chat", routes=(StaticRoute("arks-application-a", 1), StaticRoute("arks-application-b", 9))
    )
    found = {
        "a": Application("a", "chat", (replica("a-0"),), unsupported=("x", "y")),
        "b": Application("b", "Org/Chat", (replica("b-0", "b"),), unsupported=("x",)),
    }
    decision = decide(spec, DecisionInput(found, now=NOW))
    assert ("Org/Chat", ("x", "y")) == (decision.engine_model, decision.unsupported)
    assert any("a (chat)" in message for message in decision.unrouted)
    alike = decide(spec, DecisionInput({**found, "a": replace(found["a"], served_model="Org/Chat")}, now=NOW))
    assert () == alike.unrouted
    assert not alike.same_traffic(decision)


@given(st.integers(2, 6), st.floats(0, 20), st.floats(0, 20), st.floats(0.1, 20))
def test_replicas_with_equal_facts_get_equal_weights(n: int, running: float, waiting: float, rate: float) -> None:
    replicas = [replica(f"r-{number}") for number in range(n)]
    signals = {replica_.id: busy(running, waiting, rate) for replica_ in replicas}
    assert 1 == len(set(weights(decide(SPEC, DecisionInput(applications(*replicas), signals, now=NOW))).values()))


def test_streams_are_joined_if_all_engines_need_it() -> None:
    routes = (StaticRoute("arks-application-a", 1), StaticRoute("arks-application-b", 1))
    spec, kept, hung = EndpointSpec("team", "chat", routes=routes), ("x",), ("json.hang_up", "x")
    for unsupported, joins in (((hung, hung), True), ((hung, kept), False), ((kept, kept), False)):
        found = {
            name: Application(name, "chat", (replica(f"{name}-0", name),), unsupported=names)
            for name, names in zip("ab", unsupported, strict=True)
        }
        assert joins is decide(spec, DecisionInput(found)).joins_streams
    assert not decide(SPEC, DecisionInput({})).joins_streams


def test_affinity_changes_no_weight_and_lets_half_of_the_slots_be_used() -> None:
    found = applications(replica("a-0", slots=16), replica("a-1", slots=5), replica("a-2"))
    plain = decide(SPEC, DecisionInput(found))
    held = decide(replace(SPEC, load_limit_percent=125), DecisionInput(found))
    assert (plain.routed, {}) == (held.routed, plain.rooms)
    assert [8, 2, 0] == [held.rooms[ReplicaId("a", name)] for name in ("a-0", "a-1", "a-2")]
    assert not held.same_traffic(plain)
