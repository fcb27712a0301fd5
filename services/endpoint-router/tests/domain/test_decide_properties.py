"""Properties that all decisions have."""

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from arks.contracts.facts import ReplicaState
from arks.endpoint_router.domain import (
    WEIGHT_TOTAL,
    Application,
    Comparisons,
    Decision,
    DecisionInput,
    EndpointSpec,
    StaticRoute,
    decide,
)
from arks.endpoint_router.domain.native import Reading, observe
from arks.endpoint_router.testing.decisions import (
    NOW,
    SPEC,
    applications,
    busy,
    converge,
    learned,
    loads,
    replica,
    weights,
)

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
def situations(draw: st.DrawFn, *, calm: bool = False) -> tuple[EndpointSpec, DecisionInput]:
    """Draw a decision's inputs. `calm`: nothing waits, no cache is used, and it is the first decision."""
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
    signals = {
        id_: each for id_, each in signals.items() if not calm or not (each.reading.waiting or each.reading.kv_usage)
    }
    groups = st.none() | st.sampled_from(["a", "a/2", "b", "b/3"])
    placed = [
        (replica_.id, group, draw(st.floats(0, 1))) for replica_ in replicas if (group := draw(groups)) is not None
    ]
    before = [
        (name, [(id_.name, 0, group, share) for id_, group, share in placed if id_.application == name])
        for name in names
        if not calm
    ]
    static = tuple(
        StaticRoute(f"arks-application-{name}", weight=draw(st.integers(1, 100)))
        for name in draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    )
    spec = EndpointSpec("team", "chat", draw(st.integers(1, 100)), static)
    return spec, DecisionInput(applications(*replicas), loads(signals), Comparisons.restored(before), now=NOW)


def shown(decision: Decision) -> object:
    """Return what Envoy and users see of it."""
    candidates = [(each.replica, each.weight, each.group, each.explanation(NOW)) for each in decision.candidates]
    return candidates, decision.groups, decision.limits, decision.source


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
            weight = max(1, round(group.weight / group.replicas))
            assert (weight, group.application) == (candidate.weight, candidate.replica.id.application)


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
    mixed = structs.replace(inputs, applications={name: shuffled(inputs.applications[name]) for name in names})
    assert shown(decide(spec, inputs)) == shown(decide(spec, mixed))


@given(situations(calm=True))
@settings(max_examples=60)
def test_a_replica_without_signals_never_beats_all_that_are_measured(
    situation: tuple[EndpointSpec, DecisionInput],
) -> None:
    decision = decide(*situation)
    for candidate in decision.candidates:
        peers = [
            other
            for other in decision.candidates
            if other.weight and other.replica.id.application == candidate.replica.id.application
        ]
        measured = [other for other in peers if other.doubt is None and other.replica.slots >= candidate.replica.slots]
        if candidate.weight and candidate.evidence is None and len(measured) == len(peers) - 1 and measured:
            assert candidate.weight <= max(other.weight for other in measured) + 1


@given(situations())
@settings(max_examples=30)
def test_unchanged_inputs_lead_to_a_settled_decision(situation: tuple[EndpointSpec, DecisionInput]) -> None:
    spec, inputs = situation
    last = converge(inputs, spec, steps=3)
    assert decide(spec, structs.replace(inputs, before=last.comparisons)).same_traffic(last)


@given(st.integers(2, 6), st.floats(0, 20), st.floats(0, 20), st.floats(0.1, 20))
def test_replicas_with_equal_facts_get_equal_weights(n: int, running: float, waiting: float, rate: float) -> None:
    replicas = [replica(f"r-{number}") for number in range(n)]
    found = loads({replica_.id: busy(running, waiting, rate) for replica_ in replicas})
    assert 1 == len(set(weights(decide(SPEC, DecisionInput(applications(*replicas), found, now=NOW))).values()))
