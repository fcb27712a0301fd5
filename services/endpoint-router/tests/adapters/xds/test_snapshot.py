from arks.endpoint_router.adapters.envoy.messages import Cluster, Listener
from arks.endpoint_router.adapters.xds import CLUSTER, LISTENER, World


def cluster(seconds: int, name: str = "c") -> Cluster:
    built = Cluster(name=name)
    built.connect_timeout.seconds = seconds
    return built


def sent(world: World, name: str = "c") -> int | None:
    """The connect timeout that Envoys are told, as a sign of which version it is."""
    resource = world.resources(CLUSTER).get(name)
    return None if resource is None else int(Cluster.FromString(resource.packed.value).connect_timeout.seconds)


def revision(world: World) -> int:
    return world.resources(CLUSTER)["c"].revision


def test_the_same_content_is_no_change() -> None:
    world, changes = World(), list[str]()
    world.subscribe(lambda _, name: changes.append(name))
    assert (True, False, ["c"]) == (world.put(CLUSTER, "c", cluster(1)), world.put(CLUSTER, "c", cluster(1)), changes)


def test_the_last_good_one_is_sent_when_a_change_is_refused() -> None:
    world = World()
    world.put(CLUSTER, "c", cluster(1))
    world.accepted(CLUSTER, "c", revision(world))
    world.put(CLUSTER, "c", cluster(2))
    world.refused(CLUSTER, "c", revision(world))
    assert (1, True) == (sent(world), world.is_refused(CLUSTER, "c"))


def test_a_first_version_that_is_refused_is_left_out() -> None:
    world = World()
    world.put(CLUSTER, "c", cluster(1))
    world.refused(CLUSTER, "c", revision(world))
    assert (None, False) == (sent(world), world.has_good(CLUSTER, "c"))


def test_something_new_is_tried_after_a_refusal() -> None:
    world = World()
    world.put(CLUSTER, "c", cluster(1))
    world.refused(CLUSTER, "c", revision(world))
    world.put(CLUSTER, "c", cluster(2))
    assert (2, False) == (sent(world), world.is_refused(CLUSTER, "c"))


def test_what_another_envoy_runs_stays() -> None:
    world = World()
    world.put(CLUSTER, "c", cluster(1))
    world.accepted(CLUSTER, "c", revision(world))
    world.refused(CLUSTER, "c", revision(world))
    assert (1, False) == (sent(world), world.is_refused(CLUSTER, "c"))


def test_a_refusal_of_what_was_replaced_since_means_nothing() -> None:
    world = World()
    world.put(CLUSTER, "c", cluster(1))
    old = revision(world)
    world.put(CLUSTER, "c", cluster(2))
    world.refused(CLUSTER, "c", old)
    assert 2 == sent(world)


def test_what_was_refused_can_be_offered_again() -> None:
    world = World()
    world.put(CLUSTER, "c", cluster(1))
    world.refused(CLUSTER, "c", revision(world))
    world.retry(CLUSTER, "c")
    assert 1 == sent(world)


def test_what_one_envoy_takes_is_offered_to_all_though_another_refused_it() -> None:
    """Envoys of two versions, in the middle of an upgrade."""
    world = World()
    world.put(CLUSTER, "c", cluster(1))
    offered = revision(world)
    world.refused(CLUSTER, "c", offered)
    world.accepted(CLUSTER, "c", offered)
    assert (1, False, True) == (sent(world), world.is_refused(CLUSTER, "c"), world.has_good(CLUSTER, "c"))


def test_a_listener_is_never_taken_away_because_it_was_refused() -> None:
    """The Envoy that refused it may serve clients on what an earlier router gave it."""
    world = World()
    world.put(LISTENER, "gateway", Listener(name="gateway"))
    before = world.resources(LISTENER)["gateway"]
    world.refused(LISTENER, "gateway", before.revision)
    assert (before, True) == (world.resources(LISTENER).get("gateway"), world.is_refused(LISTENER, "gateway"))
