"""The incremental protocol of one stream, message by message."""

from collections.abc import Mapping

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from arks.endpoint_router.adapters.envoy.messages import Cluster, ClusterLoadAssignment, Listener
from arks.endpoint_router.adapters.xds import CLUSTER, ENDPOINT, LISTENER, ConfigSnapshot
from arks.endpoint_router.adapters.xds.session import Acknowledged, Rejected, Session
from arks.endpoint_router.adapters.xds.wire import Incremental
from arks.endpoint_router.testing.discovery import assignment, settled, snapshot

SHORT = {CLUSTER: "CDS", ENDPOINT: "EDS", LISTENER: "LDS"}


class Envoy:
    """The other end of a session; a test decides what it acknowledges."""

    def __init__(self, snapshot: ConfigSnapshot) -> None:
        self.session = Session(snapshot, Incremental())
        self.end = snapshot.subscribe(self.session.changed)

    def subscribe(self, type_: str, *names: str, versions: Mapping[str, str] | None = None) -> None:
        request = DeltaDiscoveryRequest(type_url=type_, resource_names_subscribe=names)
        request.initial_resource_versions.update(versions or {})
        self.session.receive(request)

    def unsubscribe(self, type_: str, *names: str) -> None:
        self.session.receive(DeltaDiscoveryRequest(type_url=type_, resource_names_unsubscribe=names))

    def get(self) -> list[DeltaDiscoveryResponse]:
        return list(self.session.responses(now=0.0))

    def answer(self, response: DeltaDiscoveryResponse, error: str = "") -> Acknowledged | Rejected | None:
        request = DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
        if error:
            request.error_detail.message = error
        return self.session.receive(request)

    def settle(self) -> list[str]:
        """Receive and acknowledge everything. Returns what arrived, in the order of arrival."""
        seen = []
        while responses := self.get():
            for response in responses:
                seen.append(summary(response))
                self.answer(response)
        return seen


def summary(response: DeltaDiscoveryResponse) -> str:
    found = [resource.name for resource in response.resources] + [f"-{name}" for name in response.removed_resources]
    return " ".join([SHORT[response.type_url], *found])


def versions(snapshot_: ConfigSnapshot, type_: str) -> dict[str, str]:
    return {name: resource.version for name, resource in snapshot_.resources(type_).items()}


def changed(name: str, stat_name: str = "new") -> Cluster:
    return Cluster(name=name, alt_stat_name=stat_name)


def test_types_are_sent_in_the_order_of_their_dependencies() -> None:
    envoy = Envoy(snapshot("a", "b"))
    envoy.subscribe(LISTENER)
    envoy.subscribe(ENDPOINT, "a", "b")
    envoy.subscribe(CLUSTER)
    assert ["CDS a b", "EDS a b", "LDS gateway"] == envoy.settle()


def test_a_response_holds_what_changed_and_nothing_is_sent_twice() -> None:
    changing = snapshot("a", "b")
    envoy = settled(Envoy(changing), "a", "b")
    changing.put(CLUSTER, "c", Cluster(name="c"))
    changing.put(ENDPOINT, "b", assignment("b", region="new"))
    assert (["CDS c", "EDS b"], [], True) == (envoy.settle(), envoy.get(), envoy.session.idle)


def test_a_changed_listener_is_sent_without_the_others() -> None:
    changing = snapshot()
    changing.put(LISTENER, "other", Listener(name="other"))
    envoy = settled(Envoy(changing))
    changing.put(LISTENER, "other", Listener(name="other", stat_prefix="new"))
    assert ["LDS other"] == envoy.settle()


def test_a_resource_names_the_hash_of_its_content_as_its_version() -> None:
    changing, other = snapshot("a"), snapshot("z", "a")
    envoy = Envoy(changing)
    envoy.subscribe(ENDPOINT, "a")
    (response,) = envoy.get()
    assert versions(other, ENDPOINT)["a"] == response.resources[0].version
    changing.put(ENDPOINT, "a", assignment("a", region="new"))
    assert versions(other, ENDPOINT)["a"] != versions(changing, ENDPOINT)["a"]


def test_an_envoy_that_connects_again_gets_what_differs() -> None:
    """Also of another router, whose revisions differ."""
    had, changing = snapshot("a", "b", "c"), snapshot("c", "b", "a")
    changing.put(ENDPOINT, "b", assignment("b", region="new"))
    changing.remove(CLUSTER, "c")
    changing.remove(ENDPOINT, "c")
    envoy = Envoy(changing)
    envoy.subscribe(CLUSTER, versions=versions(had, CLUSTER))
    envoy.subscribe(ENDPOINT, "a", "b", "c", versions=versions(had, ENDPOINT))
    envoy.subscribe(LISTENER, versions=versions(had, LISTENER))
    assert ["EDS b -c", "CDS -c"] == envoy.settle()


def test_what_an_envoy_has_from_an_earlier_stream_is_accepted() -> None:
    """After a restart of the router nothing is sent; else no endpoint would be served."""
    made = snapshot("a")
    envoy = Envoy(made)
    envoy.subscribe(CLUSTER, versions=versions(made, CLUSTER))
    assert ([], True) == (envoy.settle(), made.was_accepted(CLUSTER, "a"))


def test_an_envoy_that_starts_gets_an_answer_when_there_is_nothing() -> None:
    envoy = Envoy(ConfigSnapshot())
    envoy.subscribe(CLUSTER)
    assert ["CDS"] == envoy.settle()


def test_a_first_request_for_endpoints_without_names_subscribes_to_none() -> None:
    envoy = Envoy(snapshot("a"))
    envoy.subscribe(ENDPOINT)
    assert ([], True) == (envoy.settle(), envoy.session.idle)


def test_a_name_that_does_not_exist_is_removed_and_sent_once_it_does() -> None:
    changing = snapshot("a")
    envoy = settled(Envoy(changing), "a")
    envoy.subscribe(ENDPOINT, "b")
    assert ["EDS -b"] == envoy.settle()
    changing.put(ENDPOINT, "b", assignment("b"))
    assert ["EDS b"] == envoy.settle()


def test_endpoints_of_a_held_cluster_are_not_removed() -> None:
    """Envoy would end the warming of a changed cluster without replicas."""
    changing = snapshot("a")
    changing.remove(ENDPOINT, "a")
    envoy = Envoy(changing)
    envoy.subscribe(CLUSTER, versions={"a": "of an earlier router"})
    envoy.subscribe(ENDPOINT, "a", versions={"a": "of an earlier router"})
    assert ["CDS a"] == envoy.settle()
    changing.put(ENDPOINT, "a", assignment("a"))
    assert ["EDS a"] == envoy.settle()


def test_what_envoy_subscribes_to_again_is_sent_again() -> None:
    envoy = settled(Envoy(snapshot("a", "b")), "a", "b")
    envoy.subscribe(ENDPOINT, "a")
    assert ["EDS a"] == envoy.settle()


def test_endpoints_without_a_subscription_are_not_sent() -> None:
    changing = snapshot("a", "b")
    envoy = settled(Envoy(changing), "a", "b")
    envoy.unsubscribe(ENDPOINT, "b", "never subscribed")
    for name in ("a", "b"):
        changing.put(ENDPOINT, name, assignment(name, region="new"))
    assert ["EDS a"] == envoy.settle()


def test_a_name_that_all_resources_contain_is_sent_when_its_own_subscription_ends() -> None:
    envoy = Envoy(snapshot("a", "b"))
    envoy.subscribe(CLUSTER, "*", "a", "none")
    assert ["CDS a b -none"] == envoy.settle()
    envoy.unsubscribe(CLUSTER, "a", "none")
    assert ["CDS a -none"] == envoy.settle()


def test_names_stay_when_the_subscription_to_all_resources_ends() -> None:
    changing = snapshot("a", "b")
    envoy = Envoy(changing)
    envoy.subscribe(CLUSTER, "*", "a")
    envoy.settle()
    envoy.unsubscribe(CLUSTER, "*")
    for name in ("a", "b"):
        changing.put(CLUSTER, name, changed(name))
    assert ["CDS a"] == envoy.settle()


def test_endpoints_of_a_changed_cluster_are_sent_again() -> None:
    changing = snapshot("a", "b")
    envoy = settled(Envoy(changing), "a", "b")
    changing.put(CLUSTER, "a", changed("a"))
    assert ["CDS a", "EDS a"] == envoy.settle()


def test_endpoints_of_a_changed_cluster_are_sent_to_an_envoy_that_names_their_version_too_late() -> None:
    """Its first request for endpoints may arrive after the change was sent, and was made before it."""
    had, changing = snapshot("a", "b"), snapshot("a", "b")
    changing.put(CLUSTER, "a", changed("a"))
    envoy = Envoy(changing)
    envoy.subscribe(CLUSTER, versions=versions(had, CLUSTER))
    assert ["CDS a"] == envoy.settle()
    envoy.subscribe(ENDPOINT, "a", "b", versions=versions(had, ENDPOINT))
    assert ["EDS a"] == envoy.settle()


def test_a_cluster_is_removed_after_the_listener_that_used_it_has_changed() -> None:
    changing = snapshot("a", "b")
    envoy = settled(Envoy(changing), "a", "b")
    changing.remove(CLUSTER, "a")
    changing.put(CLUSTER, "c", Cluster(name="c"))
    changing.put(LISTENER, "gateway", Listener(name="gateway", stat_prefix="c"))
    assert ["CDS c", "LDS gateway", "CDS -a"] == envoy.settle()


def test_a_removed_cluster_waits_for_no_listener_that_stays() -> None:
    had, changing = snapshot("a"), snapshot()
    envoy = Envoy(changing)
    envoy.subscribe(CLUSTER, versions=versions(had, CLUSTER))
    envoy.subscribe(LISTENER, versions=versions(had, LISTENER))
    assert ["CDS -a"] == [summary(response) for response in envoy.get()]


def test_changes_gather_while_a_response_is_unacknowledged() -> None:
    changing = snapshot("a")
    envoy = settled(Envoy(changing), "a")
    changing.put(ENDPOINT, "a", assignment("a", region="1"))
    (first,) = envoy.get()
    for number in range(2, 100):
        changing.put(ENDPOINT, "a", assignment("a", region=str(number)))
        assert [] == envoy.get()
    envoy.answer(first)
    (second,) = envoy.get()
    assert assignment("a", region="99") == ClusterLoadAssignment.FromString(second.resources[0].resource.value)
    assert envoy.answer(first) is None  # an old nonce


def test_what_one_envoy_rejects_stays_for_the_others() -> None:
    changing = snapshot("a")
    broken, healthy = settled(Envoy(changing), "a"), settled(Envoy(changing), "a")
    before = versions(changing, CLUSTER)["a"]
    changing.put(CLUSTER, "a", changed("a"))
    refused, *_ = broken.get()
    outcome = broken.answer(refused, error="Error adding/updating cluster(s) a: no")
    assert isinstance(outcome, Rejected)
    instead, *_ = [response for response in broken.get() if response.type_url == CLUSTER]
    accepted, *_ = healthy.get()
    new = versions(changing, CLUSTER)["a"]
    assert (("a",), before, new) == (
        outcome.names,
        instead.resources[0].version,
        accepted.resources[0].version,
    )


def test_an_envoy_that_rejects_every_version_of_a_resource_keeps_what_it_has() -> None:
    made = snapshot("a")
    envoy = Envoy(made)
    envoy.subscribe(CLUSTER, versions={"a": "of an earlier router"})
    (refused,) = envoy.get()
    envoy.answer(refused, error="a: no")
    assert [] == envoy.settle()
    made.remove(CLUSTER, "a")
    assert ["CDS -a"] == envoy.settle()


def test_rejections_of_a_version_and_of_what_replaces_it_end() -> None:
    changing = snapshot("a")
    envoy = settled(Envoy(changing), "a")
    changing.put(CLUSTER, "a", changed("a"))
    rejected = 0
    while responses := [response for response in envoy.get() if response.type_url == CLUSTER]:
        for response in responses:
            rejected += 1
            envoy.answer(response, error="a: no")
        assert 3 > rejected
    assert 2 == rejected


def test_the_rest_of_a_rejected_response_is_sent_again() -> None:
    """Envoy stops at the first assignment that it rejects."""
    changing = snapshot("a", "b")
    envoy = settled(Envoy(changing), "a", "b")
    for name in ("a", "b"):
        changing.put(ENDPOINT, name, assignment(name, region="new"))
    (refused,) = envoy.get()
    envoy.answer(refused, error="a: no")
    assert ["EDS a b"] == envoy.settle()
    assert changing.was_accepted(ENDPOINT, "b")


def test_the_removals_of_a_rejected_response_are_sent_again() -> None:
    changing = snapshot("a", "b")
    envoy = settled(Envoy(changing), "a")
    changing.put(CLUSTER, "a", changed("a"))
    changing.remove(CLUSTER, "b")
    refused, _ = envoy.get()
    envoy.answer(refused, error="Error adding/updating cluster(s) a: no")
    assert ["CDS a -b", "CDS a -b"] == [summary(refused), *(each for each in envoy.settle() if "CDS" in each)]


def test_a_rejected_listener_is_sent_again_when_it_is_tried_again() -> None:
    made = snapshot()
    envoy = Envoy(made)
    envoy.subscribe(LISTENER)
    (refused,) = envoy.get()
    envoy.answer(refused, error="gateway: address in use")
    assert [] == envoy.get()
    made.retry(LISTENER, "gateway")
    assert ["LDS gateway"] == envoy.settle()
    assert not made.is_rejected(LISTENER, "gateway")


def test_an_unknown_type_is_ignored() -> None:
    envoy = Envoy(snapshot("a"))
    envoy.subscribe("type.googleapis.com/envoy.config.route.v3.RouteConfiguration")
    assert ([], True) == (envoy.get(), envoy.session.idle)


# --- what the stream stores of an Envoy


def test_what_comes_and_goes_between_two_responses_is_not_sent() -> None:
    changing = snapshot("a")
    envoy = settled(Envoy(changing), "a")

    def come_and_go() -> None:
        changing.put(CLUSTER, "b", changed("b"))
        changing.remove(CLUSTER, "b")

    come_and_go()
    assert [] == envoy.settle()
    changing.put(CLUSTER, "b", changed("b"))
    assert ["CDS b"] == envoy.settle()
    changing.remove(CLUSTER, "b")
    assert ["CDS -b"] == envoy.settle()
    come_and_go()
    assert [] == envoy.settle()


def test_after_a_subscription_to_all_resources_has_ended_its_changes_are_not_sent() -> None:
    changing = snapshot("a", "b")
    envoy = Envoy(changing)
    envoy.subscribe(CLUSTER)
    envoy.settle()
    changing.put(CLUSTER, "a", changed("a"))
    envoy.unsubscribe(CLUSTER, "*")
    assert [] == envoy.settle()
    envoy.subscribe(CLUSTER, "*")
    assert ["CDS a b"] == envoy.settle()


def test_after_a_subscription_to_a_name_has_ended_its_changes_are_not_sent() -> None:
    changing = snapshot("a", "b")
    envoy = Envoy(changing)
    envoy.subscribe(CLUSTER, "a")
    assert ["CDS a"] == envoy.settle()
    changing.put(CLUSTER, "a", changed("a"))
    envoy.unsubscribe(CLUSTER, "a")
    assert [] == envoy.settle()


def test_what_an_envoy_had_by_a_subscription_that_has_ended_is_sent_again() -> None:
    envoy = Envoy(snapshot("a", "b"))
    envoy.subscribe(CLUSTER, "a")
    assert ["CDS a"] == envoy.settle()
    envoy.unsubscribe(CLUSTER, "a")
    envoy.subscribe(CLUSTER, "*")
    assert ["CDS a b"] == envoy.settle()


def test_the_end_of_a_subscription_that_there_was_not_is_ignored() -> None:
    envoy = settled(Envoy(snapshot("a")), "a")
    envoy.unsubscribe(CLUSTER, "a")
    envoy.unsubscribe(ENDPOINT, "b")
    assert ([], True) == (envoy.settle(), envoy.session.idle)


def test_a_name_in_both_lists_of_a_request_is_sent() -> None:
    envoy = settled(Envoy(snapshot("a", "b")), "a")
    for name in ("a", "b"):
        envoy.session.receive(
            DeltaDiscoveryRequest(type_url=ENDPOINT, resource_names_subscribe=[name], resource_names_unsubscribe=[name])
        )
    assert ["EDS a b"] == envoy.settle()


def test_versions_of_names_without_a_subscription_and_of_later_requests_do_not_count() -> None:
    changing = snapshot("a", "b")
    envoy = Envoy(changing)
    envoy.subscribe(ENDPOINT, "a", versions={"b": "of an earlier router"})
    assert ["EDS a"] == envoy.settle()
    changing.put(ENDPOINT, "a", assignment("a", region="new"))
    envoy.subscribe(ENDPOINT, "b", versions=versions(changing, ENDPOINT))
    assert ["EDS a b"] == envoy.settle()
