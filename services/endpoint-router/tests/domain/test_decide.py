"""Which replicas get traffic, the shares of applications, and what a decision names: a table of cases."""

from dataclasses import replace

import pytest

from arks.contracts.facts import ReplicaState
from arks.endpoint_router.domain import (
    WEIGHT_TOTAL,
    Application,
    Decision,
    DecisionInput,
    EndpointSpec,
    Loads,
    Reason,
    ReplicaId,
    Source,
    StaticRoute,
    decide,
)
from arks.endpoint_router.domain.native import Reading
from arks.endpoint_router.testing.decisions import (
    NOW,
    SPEC,
    applications,
    busy,
    explanations,
    idle,
    loads,
    replica,
    weights,
)


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


def test_an_application_that_is_scaled_to_zero_has_no_replicas() -> None:
    decision = decide(SPEC, DecisionInput({"a": Application("a", "chat", ())}, now=NOW))
    assert (Reason.NO_READY_REPLICAS, "no ready replicas: a (it has none)") == (decision.reason, decision.message)


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
    assert "no ready replicas: c (weight 0)" == decision.message


def test_load_does_not_move_traffic_between_applications() -> None:
    slow, fast = replica("r-0"), replica("s-0", "b")
    signals = {slow.id: busy(4, waiting=100, drain_rate=1), fast.id: idle(100)}
    assert {"r-0": 90_000, "s-0": 10_000} == weights(
        decide(CANARY, DecisionInput(applications(slow, fast), loads(signals), now=NOW))
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
    decision = decide(SPEC, DecisionInput(applications(fast, slow, mute), loads(signals), now=NOW))
    assert {
        "r-0": "1.78 times an even share among 3 replicas; 4 running, 0 waiting, 2.00 requests/s a slot, 0.1 s ago",
        "r-1": "0.00 times an even share among 3 replicas, in group a/3; "
        "4 running, 6 waiting (lately 2.0 s of work), 0.75 requests/s a slot, 0.1 s ago",
        "r-2": "1.22 times an even share among 3 replicas, in group a/2; no load was reported; it counts by its slots",
    } == explanations(decision)


@pytest.mark.parametrize(
    ("configured", "waiting", "text"),
    [
        (0, 0, "8 running, 0 waiting, 0.1 s ago"),
        (64, 0, "8 running, 0 waiting, 64 slots, 0.1 s ago"),
        (0, 9, "8 running, 9 waiting (lately 9.0 s of work), 8 slots by its queue, 0.1 s ago"),
        (64, 9, "8 running, 9 waiting (lately 9.0 s of work), 8 of 64 slots by its queue, 0.1 s ago"),
        (8, 9, "8 running, 9 waiting (lately 9.0 s of work), 8 slots, 0.1 s ago"),
    ],
)
def test_reasons_have_the_slots_as_configured_and_as_a_queue_shows_them(
    configured: int, waiting: int, text: str
) -> None:
    read = Loads().with_reading("r-0", 0, Reading(measured_at=NOW - 0.1, running=8.0, waiting=waiting))
    decision = decide(SPEC, DecisionInput(applications(replica("r-0", slots=configured)), {"a": read}, now=NOW))
    assert explanations(decision)["r-0"] == f"the only ready replica of its application; {text}"


def test_requests_carry_the_name_that_most_engines_serve() -> None:
    spec = EndpointSpec(
        "team", "chat", routes=(StaticRoute("arks-application-a", 1), StaticRoute("arks-application-b", 9))
    )
    found = {
        "a": Application("a", "chat", (replica("a-0"),), unsupported=("x", "y")),
        "b": Application("b", "Org/Chat", (replica("b-0", "b"),), unsupported=("x",)),
    }
    decision = decide(spec, DecisionInput(found, now=NOW))
    assert ("Org/Chat", ("x", "y")) == (decision.roster.engine_model, decision.roster.unsupported)
    assert any("a (chat)" in message for message in decision.roster.unrouted)
    alike = decide(spec, DecisionInput({**found, "a": replace(found["a"], served_model="Org/Chat")}, now=NOW))
    assert () == alike.roster.unrouted
    assert not alike.same_traffic(decision)


def test_streams_are_joined_if_all_engines_need_it() -> None:
    routes = (StaticRoute("arks-application-a", 1), StaticRoute("arks-application-b", 1))
    spec, kept, hung = EndpointSpec("team", "chat", routes=routes), ("x",), ("json.hang_up", "x")
    for unsupported, joins in (((hung, hung), True), ((hung, kept), False), ((kept, kept), False)):
        found = {
            name: Application(name, "chat", (replica(f"{name}-0", name),), unsupported=names)
            for name, names in zip("ab", unsupported, strict=True)
        }
        assert joins is decide(spec, DecisionInput(found)).roster.joins_streams
    assert not decide(SPEC, DecisionInput({})).roster.joins_streams


def test_other_observed_slots_are_other_traffic_with_affinity_only() -> None:
    found, id_ = applications(replica("a-0")), ReplicaId("a", "a-0")

    def decided(running: float, limit: int | None) -> Decision:
        spec = replace(SPEC, load_limit_percent=limit)
        return decide(spec, DecisionInput(found, loads({id_: busy(running)}), now=NOW))

    assert decided(16.0, None).same_traffic(decided(40.0, None))
    assert decided(16.0, 125).same_traffic(decided(20.0, 125))
    assert not decided(16.0, 125).same_traffic(decided(40.0, 125))


def test_affinity_changes_no_weight() -> None:
    found = applications(replica("a-0", slots=16), replica("a-1", slots=5), replica("a-2"))
    plain = decide(SPEC, DecisionInput(found))
    held = decide(replace(SPEC, load_limit_percent=125), DecisionInput(found))
    assert plain.routed == held.routed
    assert not held.same_traffic(plain)
