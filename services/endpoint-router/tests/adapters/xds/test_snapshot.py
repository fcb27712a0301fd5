from arks.endpoint_router.adapters.envoy.messages import Cluster, Listener
from arks.endpoint_router.adapters.xds import CLUSTER, LISTENER, ConfigSnapshot


def cluster(seconds: int, name: str = "c") -> Cluster:
    built = Cluster(name=name)
    built.connect_timeout.seconds = seconds
    return built


def sent(snapshot: ConfigSnapshot, name: str = "c") -> int | None:
    """Return the connect timeout that Envoys get; it identifies the version."""
    resource = snapshot.resources(CLUSTER).get(name)
    return None if resource is None else int(Cluster.FromString(resource.packed.value).connect_timeout.seconds)


def revision(snapshot: ConfigSnapshot) -> int:
    return snapshot.resources(CLUSTER)["c"].revision


def test_the_same_content_is_no_change() -> None:
    snapshot, changes = ConfigSnapshot(), list[str]()
    snapshot.subscribe(lambda _, name: changes.append(name))
    assert (True, False, ["c"]) == (
        snapshot.put(CLUSTER, "c", cluster(1)),
        snapshot.put(CLUSTER, "c", cluster(1)),
        changes,
    )


def test_the_last_accepted_version_is_sent_after_a_rejection() -> None:
    snapshot = ConfigSnapshot()
    snapshot.put(CLUSTER, "c", cluster(1))
    snapshot.accept(CLUSTER, "c", revision(snapshot))
    snapshot.put(CLUSTER, "c", cluster(2))
    snapshot.reject(CLUSTER, "c", revision(snapshot))
    assert (1, True) == (sent(snapshot), snapshot.is_rejected(CLUSTER, "c"))


def test_a_rejected_first_version_is_omitted() -> None:
    snapshot = ConfigSnapshot()
    snapshot.put(CLUSTER, "c", cluster(1))
    snapshot.reject(CLUSTER, "c", revision(snapshot))
    assert (None, False) == (sent(snapshot), snapshot.was_accepted(CLUSTER, "c"))


def test_a_new_version_is_sent_after_a_rejection() -> None:
    snapshot = ConfigSnapshot()
    snapshot.put(CLUSTER, "c", cluster(1))
    snapshot.reject(CLUSTER, "c", revision(snapshot))
    snapshot.put(CLUSTER, "c", cluster(2))
    assert (2, False) == (sent(snapshot), snapshot.is_rejected(CLUSTER, "c"))


def test_a_version_that_another_envoy_runs_stays() -> None:
    snapshot = ConfigSnapshot()
    snapshot.put(CLUSTER, "c", cluster(1))
    snapshot.accept(CLUSTER, "c", revision(snapshot))
    snapshot.reject(CLUSTER, "c", revision(snapshot))
    assert (1, False) == (sent(snapshot), snapshot.is_rejected(CLUSTER, "c"))


def test_a_rejection_of_a_replaced_version_is_ignored() -> None:
    snapshot = ConfigSnapshot()
    snapshot.put(CLUSTER, "c", cluster(1))
    old = revision(snapshot)
    snapshot.put(CLUSTER, "c", cluster(2))
    snapshot.reject(CLUSTER, "c", old)
    assert 2 == sent(snapshot)


def test_a_rejected_version_can_be_sent_again() -> None:
    snapshot = ConfigSnapshot()
    snapshot.put(CLUSTER, "c", cluster(1))
    snapshot.reject(CLUSTER, "c", revision(snapshot))
    snapshot.retry(CLUSTER, "c")
    assert 1 == sent(snapshot)


def test_a_version_that_one_envoy_accepts_is_sent_to_all() -> None:
    """As during an upgrade, with Envoys of two versions."""
    snapshot = ConfigSnapshot()
    snapshot.put(CLUSTER, "c", cluster(1))
    pushed = revision(snapshot)
    snapshot.reject(CLUSTER, "c", pushed)
    snapshot.accept(CLUSTER, "c", pushed)
    assert (1, False, True) == (sent(snapshot), snapshot.is_rejected(CLUSTER, "c"), snapshot.was_accepted(CLUSTER, "c"))


def test_a_rejected_listener_is_never_removed() -> None:
    """The Envoy that rejected it may still serve clients with the listener of an earlier router."""
    snapshot = ConfigSnapshot()
    snapshot.put(LISTENER, "gateway", Listener(name="gateway"))
    before = snapshot.resources(LISTENER)["gateway"]
    snapshot.reject(LISTENER, "gateway", before.revision)
    assert (before, True) == (snapshot.resources(LISTENER).get("gateway"), snapshot.is_rejected(LISTENER, "gateway"))
