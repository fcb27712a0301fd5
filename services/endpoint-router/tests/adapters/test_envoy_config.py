from dataclasses import replace
from itertools import pairwise

import pytest
from msgspec import structs

from arks.contracts.facts import ReplicaState
from arks.endpoint_router.adapters.envoy import GatewaySettings, token_quota_cluster
from arks.endpoint_router.adapters.envoy.messages import DRAINING, ClusterLoadAssignment
from arks.endpoint_router.adapters.envoy.runtime import LAYER
from arks.endpoint_router.adapters.envoy_config import SnapshotEnvoyConfig
from arks.endpoint_router.adapters.xds import CLUSTER, ENDPOINT, LISTENER, RUNTIME, ConfigSnapshot
from arks.endpoint_router.domain import (
    WEIGHT_TOTAL,
    Application,
    Comparisons,
    Decision,
    DecisionInput,
    EndpointSpec,
    Limits,
    ReplicaId,
    RoutedReplica,
    decide,
)
from arks.endpoint_router.testing.decisions import NOW, busy, loads


def decision(
    *states: ReplicaState,
    port: int | None = None,
    host: str = "127.0.0.1",
    load_limit_percent: int | None = None,
    slots: int = 0,
    waiting: float = 0.0,
) -> Decision:
    """Return a decision about replicas, each with so many slots and waiting requests."""
    replicas = tuple(
        RoutedReplica(ReplicaId("a", f"a-{n}"), host, port or 9000 + n, state, slots) for n, state in enumerate(states)
    )
    spec = EndpointSpec("team", "chat", load_limit_percent=load_limit_percent)
    queues = {replica.id: busy(float(slots), waiting, 1.0) for replica in replicas if waiting}
    return decide(spec, DecisionInput({"a": Application("a", "chat", replicas)}, loads(queues), now=NOW))


def envoy_config(snapshot: ConfigSnapshot) -> SnapshotEnvoyConfig:
    made = SnapshotEnvoyConfig(snapshot, lambda: None)
    made.set_gateway(GatewaySettings(usage_log_path="/tmp/usage.log"), token_quota_cluster("localhost", 8090))
    return made


def reject(snapshot: ConfigSnapshot, envoy: SnapshotEnvoyConfig) -> None:
    snapshot.reject(LISTENER, "gateway", snapshot.resources(LISTENER)["gateway"].revision, "one")
    envoy.handle_rejection(LISTENER, "gateway", "port in use")


def assignment(decided: Decision) -> ClusterLoadAssignment:
    snapshot = ConfigSnapshot()
    envoy_config(snapshot).route("team/chat", decided, known_at=0.0)
    return ClusterLoadAssignment.FromString(snapshot.resources(ENDPOINT)["team/chat"].value)


def replicas(decided: Decision) -> list[tuple[str, int, int, bool]]:
    """Return group, port, weight and whether it drains of each replica in the load assignment."""
    return [
        (
            locality.locality.sub_zone,
            each.endpoint.address.socket_address.port_value,
            each.load_balancing_weight.value,
            each.health_status == DRAINING,
        )
        for locality in assignment(decided).endpoints
        for each in locality.lb_endpoints
    ]


def test_draining_replicas_stay_in_the_load_assignment() -> None:
    found = replicas(decision(ReplicaState.READY, ReplicaState.DRAINING, ReplicaState.STARTING, ReplicaState.FAILED))
    assert [("a", 9000, 100_000, False), ("a", 9001, 1, True)] == found


def test_a_draining_replica_does_not_replace_a_ready_one_at_the_same_address() -> None:
    assert [("a", 9000, 100_000, False)] == replicas(decision(ReplicaState.DRAINING, ReplicaState.READY, port=9000))


def test_a_draining_replica_with_an_address_that_envoy_rejects_is_omitted() -> None:
    assert [] == replicas(decision(ReplicaState.DRAINING, host="engine.local"))


def test_affinity_lets_half_of_the_slots_be_used() -> None:
    for slots, room in ((16, 8), (5, 2), (0, None)):
        found = assignment(decision(ReplicaState.READY, slots=slots, load_limit_percent=125))
        fields = found.endpoints[0].lb_endpoints[0].metadata.filter_metadata.get("arks", {})
        assert room == dict(fields).get("room")


def weighed(decided: Decision, *weights: int) -> Decision:
    """Return the decision with a group for each replica, of these weights."""
    groups = [(f"a-{number}", 0, f"a/{number + 2}", weight / WEIGHT_TOTAL) for number, weight in enumerate(weights)]
    roster = decided.roster
    inputs = DecisionInput(roster.applications, before=Comparisons.restored([("a", groups)]), hold=True)
    found = decide(roster.spec, inputs)
    assert list(weights) == [group.weight for group in found.groups]
    return found


@pytest.mark.parametrize("limit", [None, 125])
def test_changed_weights_give_the_same_load_assignment_as_one_made_anew(limit: int | None) -> None:
    ready = decision(ReplicaState.READY, ReplicaState.READY, ReplicaState.DRAINING, load_limit_percent=limit)
    drained = decision(ReplicaState.READY, ReplicaState.DRAINING, ReplicaState.DRAINING, load_limit_percent=limit)
    with_slots, with_queue = (
        decision(ReplicaState.READY, ReplicaState.READY, slots=10, waiting=waiting, load_limit_percent=limit)
        for waiting in (0.0, 50.0)
    )
    assert [Limits(160, 100, 1), Limits(160, 100, 60)] == [with_slots.limits, with_queue.limits]
    changes = [
        weighed(ready, 50_000, 50_000),
        weighed(ready, 30_000, 70_000),
        weighed(ready, 1, 99_999),
        with_slots,
        with_queue,
        weighed(drained, 100_000),
        weighed(ready, 20_000, 80_000),
        weighed(ready, 25_000, 75_000),
        weighed(ready, 80_000, 20_000),
    ]
    kept = ConfigSnapshot()
    made = envoy_config(kept)
    for change in changes:
        anew = ConfigSnapshot()
        envoy_config(anew).route("team/chat", change, known_at=0.0)
        made.route("team/chat", change, known_at=0.0)
        found, wanted = (each.resources(ENDPOINT)["team/chat"].value for each in (kept, anew))
        assert ClusterLoadAssignment.FromString(wanted) == ClusterLoadAssignment.FromString(found)


def test_an_endpoint_without_replicas_keeps_its_cluster() -> None:
    snapshot = ConfigSnapshot()
    envoy_config(snapshot).route("team/chat", decision(), known_at=0.0)
    resource = snapshot.resources(ENDPOINT)["team/chat"]
    assert ("team/chat" in snapshot.resources(CLUSTER), 0) == (
        True,
        len(ClusterLoadAssignment.FromString(resource.value).endpoints),
    )


def test_a_held_endpoint_has_a_cluster_and_no_load_assignment() -> None:
    snapshot = ConfigSnapshot()
    envoy_config(snapshot).hold("team/chat")
    assert (True, False) == ("team/chat" in snapshot.resources(CLUSTER), "team/chat" in snapshot.resources(ENDPOINT))


def test_a_cluster_gets_the_filter_that_joins_streams_once_its_engines_need_it() -> None:
    snapshot = ConfigSnapshot()
    made, found = envoy_config(snapshot), decision(ReplicaState.READY)
    joined = []
    for decided in (found, structs.replace(found, roster=structs.replace(found.roster, joins_streams=True)), found):
        made.route("team/chat", decided, known_at=0.0)
        joined.append(b"\x04join" in snapshot.resources(CLUSTER)["team/chat"].value)
    assert [False, True, False] == joined


def test_a_held_endpoint_has_the_cluster_that_it_will_have() -> None:
    """Else Envoy would build it anew, and wait for its endpoints again."""
    found = decision(ReplicaState.READY)
    spec = replace(found.roster.spec, load_limit_percent=150)
    wanted = structs.replace(found, roster=structs.replace(found.roster, spec=spec, joins_streams=True))
    held, routed = ConfigSnapshot(), ConfigSnapshot()
    envoy_config(held).hold("team/chat", wanted)
    envoy_config(routed).route("team/chat", wanted, known_at=0.0)
    assert routed.resources(CLUSTER)["team/chat"].version == held.resources(CLUSTER)["team/chat"].version


def test_resources_have_the_time_at_which_their_cause_was_known() -> None:
    snapshot = ConfigSnapshot()
    envoy_config(snapshot).route("team/chat", decision(ReplicaState.READY), known_at=7.0)
    assert [7.0, 7.0] == [snapshot.resources(type_)["team/chat"].changed_at for type_ in (CLUSTER, ENDPOINT)]


def test_an_endpoint_that_comes_again_has_a_cluster() -> None:
    snapshot = ConfigSnapshot()
    made = envoy_config(snapshot)
    for _ in range(2):
        made.route("team/chat", decision(ReplicaState.READY), known_at=0.0)
        assert {"team/chat", "token-quota"} == set(snapshot.resources(CLUSTER))
        made.remove("team/chat")


def test_limits_are_pushed_when_any_of_them_changes() -> None:
    snapshot = ConfigSnapshot()
    made = envoy_config(snapshot)
    made.open()
    versions = [snapshot.resources(RUNTIME)[LAYER].version]
    two, four = [ReplicaState.READY] * 2, [ReplicaState.READY] * 4
    decisions = [decision(*two, slots=10), decision(*two, slots=20), decision(*four, slots=10)]
    assert [Limits(160, 100), Limits(320, 100), Limits(320, 50)] == [decided.limits for decided in decisions]
    for decided in (*decisions, None):
        if decided is None:
            made.remove("team/chat")
        else:
            made.route("team/chat", decided, known_at=0.0)
        made.push_limits()
        versions.append(snapshot.resources(RUNTIME)[LAYER].version)
    assert (4, versions[0]) == (len(set(versions)), versions[-1])


@pytest.mark.parametrize("order", [(CLUSTER, ENDPOINT), (ENDPOINT, CLUSTER)], ids=["cluster first", "endpoints first"])
def test_an_endpoint_is_served_once_envoy_has_both_of_its_resources_and_rejected_by_either(
    order: tuple[str, str],
) -> None:
    snapshot = ConfigSnapshot()
    made = envoy_config(snapshot)
    made.route("team/chat", decision(ReplicaState.READY), known_at=0.0)
    served, rejected = [], []
    for type_ in order:
        revision = snapshot.resources(type_)["team/chat"].revision
        snapshot.reject(type_, "team/chat", revision, "one")
        rejected.append(made.is_rejected("team/chat"))
        snapshot.accept(type_, "team/chat", revision)
        rejected.append(made.is_rejected("team/chat"))
        served.append(made.is_served("team/chat"))
    assert ([False, True], [True, False, True, False]) == (served, rejected)


def test_a_removed_endpoint_has_no_resources() -> None:
    snapshot = ConfigSnapshot()
    made = envoy_config(snapshot)
    made.route("team/chat", decision(ReplicaState.READY), known_at=0.0)
    made.remove("team/chat")
    assert (["token-quota"], []) == (list(snapshot.resources(CLUSTER)), list(snapshot.resources(ENDPOINT)))


def test_a_rejected_listener_is_a_problem() -> None:
    snapshot = ConfigSnapshot()
    made = envoy_config(snapshot)
    assert made.problem() is None
    reject(snapshot, made)
    assert "Envoy rejects listener gateway: port in use" == made.problem()


def test_a_listener_that_was_accepted_before_is_a_problem_when_its_change_is_rejected() -> None:
    snapshot = ConfigSnapshot()
    made = envoy_config(snapshot)
    snapshot.accept(LISTENER, "gateway", snapshot.resources(LISTENER)["gateway"].revision)
    changed = GatewaySettings(usage_log_path="/tmp/other.log")
    made.set_gateway(changed, token_quota_cluster("localhost", 8090))
    assert made.problem() is None
    reject(snapshot, made)
    assert "Envoy rejects listener gateway: port in use" == made.problem()


def test_a_listener_that_stays_rejected_is_pushed_again_every_few_seconds() -> None:
    snapshot = ConfigSnapshot()
    made = envoy_config(snapshot)
    revisions = []
    for now in (100.0, 106.0, 107.0, 110.0, 112.0):
        reject(snapshot, made)
        made.retry_rejected(now)
        revisions.append(snapshot.resources(LISTENER)["gateway"].revision)
    assert [True, False, False, True] == [after > before for before, after in pairwise(revisions)]


def test_a_rejected_listener_is_pushed_again_after_some_seconds() -> None:
    snapshot = ConfigSnapshot()
    made = envoy_config(snapshot)
    made.retry_rejected(now=100.0)
    reject(snapshot, made)
    pushed = snapshot.resources(LISTENER)["gateway"].revision
    made.retry_rejected(now=101.0)
    assert pushed == snapshot.resources(LISTENER)["gateway"].revision
    made.retry_rejected(now=106.0)
    assert pushed < snapshot.resources(LISTENER)["gateway"].revision
    assert made.problem() is not None  # until Envoy accepts it
    snapshot.accept(LISTENER, "gateway", snapshot.resources(LISTENER)["gateway"].revision)
    assert made.problem() is None
