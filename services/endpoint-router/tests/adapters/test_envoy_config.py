from arks.endpoint_router.adapters.envoy import Backend, GatewaySettings
from arks.endpoint_router.adapters.envoy.clusters import ACTIVE_REQUEST_BIAS
from arks.endpoint_router.adapters.envoy.messages import ClusterLoadAssignment
from arks.endpoint_router.adapters.envoy_config import EnvoyGateway, backends
from arks.endpoint_router.adapters.xds import CLUSTER, ENDPOINT, LISTENER, World
from arks.endpoint_router.domain import (
    Application,
    Decision,
    EndpointSpec,
    Facts,
    Replica,
    ReplicaId,
    State,
    decide,
)
from arks.endpoint_router.domain.scores import SHARPNESS


def decision(*states: State, port: int | None = None, host: str = "127.0.0.1") -> Decision:
    replicas = tuple(Replica(ReplicaId("a", f"a-{n}"), host, port or 9000 + n, state) for n, state in enumerate(states))
    return decide(EndpointSpec("team", "chat"), Facts({"a": Application("a", "chat", replicas)}))


def gateway(world: World) -> EnvoyGateway:
    made = EnvoyGateway(world, lambda: None)
    made.serve(GatewaySettings(usage_log_path="/tmp/usage.log"), "127.0.0.1", 8090)
    return made


def refuse(world: World, gateway_: EnvoyGateway) -> None:
    world.refused(LISTENER, "gateway", world.resources(LISTENER)["gateway"].revision)
    gateway_.refused(LISTENER, "gateway", "port in use")


def test_ready_replicas_have_weights_and_draining_ones_their_place() -> None:
    found = backends(decision(State.READY, State.DRAINING, State.STARTING, State.FAILED))
    assert [
        Backend("127.0.0.1", 9000, 100_000, draining=False, group="a"),
        Backend("127.0.0.1", 9001, 1, draining=True, group="a"),
    ] == found


def test_a_draining_replica_does_not_take_the_place_of_a_ready_one_at_the_same_address() -> None:
    found = backends(decision(State.DRAINING, State.READY, port=9000))
    assert [Backend("127.0.0.1", 9000, 100_000, draining=False, group="a")] == found


def test_a_draining_replica_with_an_address_that_envoy_refuses_is_left_out() -> None:
    assert [] == backends(decision(State.DRAINING, host="engine.local"))


def test_an_endpoint_without_replicas_keeps_its_cluster() -> None:
    world = World()
    gateway(world).route("team/chat", decision(), known_at=0.0)
    packed = world.resources(ENDPOINT)["team/chat"].packed
    assert ("team/chat" in world.resources(CLUSTER), 0) == (
        True,
        len(ClusterLoadAssignment.FromString(packed.value).endpoints),
    )


def test_an_endpoint_of_which_nothing_is_known_has_a_cluster_and_no_word_about_replicas() -> None:
    world = World()
    gateway(world).hold("team/chat")
    assert (True, False) == ("team/chat" in world.resources(CLUSTER), "team/chat" in world.resources(ENDPOINT))


def test_a_removed_endpoint_leaves_nothing() -> None:
    world = World()
    made = gateway(world)
    made.route("team/chat", decision(State.READY), known_at=0.0)
    made.remove("team/chat")
    assert (["token-quota"], []) == (list(world.resources(CLUSTER)), list(world.resources(ENDPOINT)))


def test_a_listener_that_envoy_refuses_is_a_problem_in_words() -> None:
    world = World()
    made = gateway(world)
    assert made.problem() is None
    refuse(world, made)
    assert "Envoy refuses listener gateway: port in use" == made.problem()


def test_a_refused_listener_is_offered_again_after_some_seconds() -> None:
    world = World()
    made = gateway(world)
    made.tick(now=100.0)
    refuse(world, made)
    offered = world.resources(LISTENER)["gateway"].revision
    made.tick(now=101.0)
    assert offered == world.resources(LISTENER)["gateway"].revision
    made.tick(now=106.0)
    assert offered < world.resources(LISTENER)["gateway"].revision
    assert made.problem() is not None  # until Envoy takes it
    world.accepted(LISTENER, "gateway", world.resources(LISTENER)["gateway"].revision)
    assert made.problem() is None


def test_weights_are_made_for_the_exponent_that_the_clusters_have() -> None:
    assert ACTIVE_REQUEST_BIAS == SHARPNESS
