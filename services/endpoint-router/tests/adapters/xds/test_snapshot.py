from arks.endpoint_router.adapters.envoy.messages import Cluster, Listener
from arks.endpoint_router.adapters.xds import CLUSTER, LISTENER, ConfigSnapshot


def cluster(seconds: int, name: str = "c") -> Cluster:
    built = Cluster(name=name)
    built.connect_timeout.seconds = seconds
    return built


def sent(snapshot: ConfigSnapshot, name: str = "c") -> int | None:
    """Return the connect timeout that Envoys get; it identifies the version."""
    resource = snapshot.resources(CLUSTER).get(name)
    return None if resource is None else int(Cluster.FromString(resource.value).connect_timeout.seconds)


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


def instead(snapshot: ConfigSnapshot) -> int | None:
    """Return the connect timeout that an Envoy gets that rejected the desired version."""
    resource = snapshot.instead_of(CLUSTER, snapshot.resources(CLUSTER)["c"], "c")
    return None if resource is None else int(Cluster.FromString(resource.value).connect_timeout.seconds)


def test_who_rejects_a_version_gets_the_last_accepted_one_and_the_others_get_it_all_the_same() -> None:
    snapshot = ConfigSnapshot()
    snapshot.put(CLUSTER, "c", cluster(1))
    snapshot.accept(CLUSTER, "c", revision(snapshot))
    snapshot.put(CLUSTER, "c", cluster(2))
    snapshot.reject(CLUSTER, "c", revision(snapshot), "one")
    assert (2, 1, True) == (sent(snapshot), instead(snapshot), snapshot.is_rejected(CLUSTER, "c"))


def test_who_rejects_the_first_version_gets_none() -> None:
    snapshot = ConfigSnapshot()
    snapshot.put(CLUSTER, "c", cluster(1))
    snapshot.reject(CLUSTER, "c", revision(snapshot), "one")
    assert (1, None, False) == (sent(snapshot), instead(snapshot), snapshot.was_accepted(CLUSTER, "c"))


def test_a_new_version_is_not_rejected() -> None:
    snapshot = ConfigSnapshot()
    snapshot.put(CLUSTER, "c", cluster(1))
    snapshot.reject(CLUSTER, "c", revision(snapshot), "one")
    snapshot.put(CLUSTER, "c", cluster(2))
    assert (2, False) == (sent(snapshot), snapshot.is_rejected(CLUSTER, "c"))


def test_a_rejection_of_a_replaced_version_is_ignored() -> None:
    snapshot = ConfigSnapshot()
    snapshot.put(CLUSTER, "c", cluster(1))
    old = revision(snapshot)
    snapshot.put(CLUSTER, "c", cluster(2))
    snapshot.reject(CLUSTER, "c", old, "one")
    assert not snapshot.is_rejected(CLUSTER, "c")


def test_an_acknowledgement_of_a_replaced_version_is_none_of_the_new_one() -> None:
    snapshot = ConfigSnapshot()
    snapshot.put(CLUSTER, "c", cluster(1))
    old = revision(snapshot)
    snapshot.put(CLUSTER, "c", cluster(2))
    snapshot.accept(CLUSTER, "c", old)
    assert not snapshot.was_accepted(CLUSTER, "c")


def test_a_version_that_no_envoy_rejected_is_not_sent_again() -> None:
    snapshot = ConfigSnapshot()
    snapshot.put(CLUSTER, "c", cluster(1))
    before = revision(snapshot)
    snapshot.retry(CLUSTER, "c")
    assert before == revision(snapshot)


def test_a_rejection_ends_with_its_stream() -> None:
    snapshot = ConfigSnapshot()
    snapshot.put(CLUSTER, "c", cluster(1))
    snapshot.reject(CLUSTER, "c", revision(snapshot), "one")
    snapshot.forget("one")
    assert not snapshot.is_rejected(CLUSTER, "c")


def test_a_rejected_version_can_be_sent_again() -> None:
    snapshot = ConfigSnapshot()
    snapshot.put(CLUSTER, "c", cluster(1))
    before = revision(snapshot)
    snapshot.reject(CLUSTER, "c", before, "one")
    snapshot.retry(CLUSTER, "c")
    assert (1, False) == (sent(snapshot), snapshot.is_rejected(CLUSTER, "c"))
    assert before < revision(snapshot)


def test_a_version_that_one_envoy_accepts_is_not_rejected() -> None:
    """As during an upgrade, with Envoys of two versions."""
    snapshot = ConfigSnapshot()
    snapshot.put(CLUSTER, "c", cluster(1))
    pushed = revision(snapshot)
    snapshot.reject(CLUSTER, "c", pushed, "one")
    snapshot.accept(CLUSTER, "c", pushed)
    assert (1, False, True) == (sent(snapshot), snapshot.is_rejected(CLUSTER, "c"), snapshot.was_accepted(CLUSTER, "c"))


def test_a_rejected_listener_is_never_removed() -> None:
    """The Envoy that rejected it may still serve clients with the listener of an earlier router."""
    snapshot = ConfigSnapshot()
    snapshot.put(LISTENER, "gateway", Listener(name="gateway"))
    before = snapshot.resources(LISTENER)["gateway"]
    snapshot.reject(LISTENER, "gateway", before.revision, "one")
    found = snapshot.instead_of(LISTENER, before, "gateway")
    assert (before, True) == (found, snapshot.is_rejected(LISTENER, "gateway"))
