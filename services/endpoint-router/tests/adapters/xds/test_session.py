"""The protocol of one stream, message by message."""

from collections.abc import Sequence

import pytest
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse

from arks.endpoint_router.adapters.envoy.messages import Cluster, ClusterLoadAssignment, Listener
from arks.endpoint_router.adapters.xds import CLUSTER, ENDPOINT, LISTENER, ConfigSnapshot
from arks.endpoint_router.adapters.xds.session import Acknowledged, Rejected, Session
from arks.endpoint_router.adapters.xds.wire import FullState
from arks.endpoint_router.testing.discovery import assignment, settled, snapshot


class Envoy:
    """The other end of a session; a test decides what it acknowledges."""

    def __init__(self, snapshot: ConfigSnapshot) -> None:
        self.session = Session(snapshot, FullState())
        self.end = snapshot.subscribe(self.session.changed)
        self.names: dict[str, Sequence[str]] = {}

    def subscribe(self, type_: str, *names: str) -> None:
        self.names[type_] = names
        self.session.receive(DiscoveryRequest(type_url=type_, resource_names=names))

    def get(self) -> list[DiscoveryResponse]:
        return list(self.session.responses(now=0.0))

    def answer(self, response: DiscoveryResponse, error: str = "") -> Acknowledged | Rejected | None:
        request = DiscoveryRequest(
            type_url=response.type_url,
            response_nonce=response.nonce,
            version_info=response.version_info,
            resource_names=self.names[response.type_url],
        )
        if error:
            request.error_detail.message = error
        return self.session.receive(request)

    def settle(self) -> list[tuple[str, list[str]]]:
        """Receive and acknowledge everything. Returns types and names in the order of arrival."""
        seen = []
        while responses := self.get():
            for response in responses:
                seen.append((response.type_url, names(response)))
                self.answer(response)
        return seen


def names(response: DiscoveryResponse) -> list[str]:
    kinds = {CLUSTER: Cluster, ENDPOINT: ClusterLoadAssignment, LISTENER: Listener}
    found = [kinds[response.type_url].FromString(resource.value) for resource in response.resources]
    return sorted(resource.cluster_name if response.type_url == ENDPOINT else resource.name for resource in found)


def test_types_are_sent_in_the_order_of_their_dependencies() -> None:
    envoy = Envoy(snapshot("a", "b"))
    envoy.subscribe(LISTENER)
    envoy.subscribe(ENDPOINT, "a", "b")
    envoy.subscribe(CLUSTER)
    assert [(CLUSTER, ["a", "b"]), (ENDPOINT, ["a", "b"]), (LISTENER, ["gateway"])] == envoy.settle()


def test_an_envoy_that_starts_gets_an_answer_when_there_is_nothing() -> None:
    envoy = Envoy(ConfigSnapshot())
    envoy.subscribe(CLUSTER)
    envoy.subscribe(ENDPOINT)
    envoy.subscribe(LISTENER)
    assert [(CLUSTER, []), (LISTENER, [])] == envoy.settle()


def test_nothing_is_sent_twice() -> None:
    envoy = settled(Envoy(snapshot("a")), "a")
    assert ([], True) == (envoy.get(), envoy.session.idle)


def test_only_the_endpoints_that_changed_are_sent() -> None:
    changing = snapshot("a", "b", "c")
    envoy = settled(Envoy(changing), "a", "b", "c")
    changing.put(ENDPOINT, "b", assignment("b", port=2))
    assert [(ENDPOINT, ["b"])] == envoy.settle()


def test_endpoints_without_a_subscription_are_not_sent() -> None:
    changing = snapshot("a", "b")
    envoy = settled(Envoy(changing), "a")
    changing.put(ENDPOINT, "b", assignment("b", port=2))
    assert [] == envoy.get()


def test_a_new_name_in_a_subscription_gets_its_endpoints_and_the_others_are_not_sent_again() -> None:
    envoy = settled(Envoy(snapshot("a", "b")), "a")
    envoy.subscribe(ENDPOINT, "a", "b")
    assert [(ENDPOINT, ["b"])] == envoy.settle()


def test_a_renewed_subscription_is_sent_again() -> None:
    envoy = settled(Envoy(snapshot("a", "b")), "a", "b")
    envoy.subscribe(ENDPOINT, "a")
    envoy.subscribe(ENDPOINT, "a", "b")
    assert [(ENDPOINT, ["b"])] == envoy.settle()


def test_names_end_the_subscription_to_all_resources() -> None:
    changing = snapshot("a", "b")
    envoy = settled(Envoy(changing))
    envoy.subscribe(CLUSTER, "a")
    assert [(CLUSTER, ["a"])] == envoy.settle()
    changing.put(CLUSTER, "b", Cluster(name="b", alt_stat_name="new"))
    assert [] == envoy.settle()


def test_changes_gather_while_a_response_is_unacknowledged() -> None:
    changing = snapshot("a")
    envoy = settled(Envoy(changing), "a")
    changing.put(ENDPOINT, "a", assignment("a", port=2))
    (first,) = envoy.get()
    for port in range(3, 100):
        changing.put(ENDPOINT, "a", assignment("a", port=port))
        assert [] == envoy.get()
    envoy.answer(first)
    (second,) = envoy.get()
    found = ClusterLoadAssignment.FromString(second.resources[0].value)
    assert 99 == found.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value


def test_an_answer_to_an_older_response_is_ignored() -> None:
    changing = snapshot("a")
    envoy = settled(Envoy(changing), "a")
    changing.put(ENDPOINT, "a", assignment("a", port=2))
    (first,) = envoy.get()
    envoy.answer(first)
    changing.put(ENDPOINT, "a", assignment("a", port=3))
    (second,) = envoy.get()
    assert envoy.answer(first) is None
    assert not envoy.session.idle
    assert isinstance(envoy.answer(second), Acknowledged)


def test_endpoints_of_a_changed_cluster_are_sent_again() -> None:
    changing = snapshot("a", "b")
    envoy = settled(Envoy(changing), "a", "b")
    other = Cluster(name="a")
    other.connect_timeout.seconds = 7
    changing.put(CLUSTER, "a", other)
    assert [(CLUSTER, ["b", "a"]), (ENDPOINT, ["a"])] == [
        (type_, sorted(n, reverse=True)) for type_, n in envoy.settle()
    ]


def test_a_removed_cluster_is_missing_in_the_next_response() -> None:
    changing = snapshot("a", "b")
    envoy = settled(Envoy(changing), "a", "b")
    changing.remove(CLUSTER, "a")
    changing.remove(ENDPOINT, "a")
    assert [(CLUSTER, ["b"])] == envoy.settle()


def test_an_acknowledgement_lists_the_new_revisions() -> None:
    changing = snapshot("a", "b")
    envoy = settled(Envoy(changing), "a", "b")
    changing.put(CLUSTER, "c", Cluster(name="c"))
    (response,) = envoy.get()
    outcome = envoy.answer(response)
    assert isinstance(outcome, Acknowledged)
    assert (["a", "b", "c"], ["c"]) == (names(response), list(outcome.sent.revisions))


def test_a_rejection_affects_the_resources_that_envoy_names() -> None:
    envoy = Envoy(snapshot("a", "b"))
    envoy.subscribe(CLUSTER)
    (response,) = envoy.get()
    outcome = envoy.answer(response, error="Error adding/updating cluster(s) b: no")
    assert isinstance(outcome, Rejected)
    assert (("b",), "Error adding/updating cluster(s) b: no") == (outcome.names, outcome.message)


NAMES = ("team/chat", "team/chat.v2", "team/chat-2", "team/chat/x", "my.team/chat", "x/team/chat", "my-team/chat")


@pytest.mark.parametrize("name", NAMES)
def test_a_rejection_does_not_affect_resources_with_a_part_of_the_name(name: str) -> None:
    envoy = Envoy(snapshot(*NAMES))
    envoy.subscribe(CLUSTER)
    (response,) = envoy.get()
    outcome = envoy.answer(response, error=f"Error adding/updating cluster(s) {name}: of {name}. No")
    assert isinstance(outcome, Rejected)
    assert (name,) == outcome.names


def test_a_response_has_the_time_of_its_oldest_change() -> None:
    changing = snapshot("a", "b")
    envoy = settled(Envoy(changing), "a", "b")
    for name, changed_at in (("a", 7.0), ("b", 5.0)):
        changing.put(ENDPOINT, name, assignment(name, port=2), changed_at)
    (response,) = envoy.get()
    outcome = envoy.answer(response)
    assert isinstance(outcome, Acknowledged)
    assert 5.0 == outcome.sent.oldest_change


def test_the_oldest_response_without_an_acknowledgement_is_the_first_that_was_sent() -> None:
    changing = snapshot("a")
    envoy = settled(Envoy(changing), "a")
    found = []
    changing.put(CLUSTER, "b", Cluster(name="b"))
    responses = list(envoy.session.responses(now=1.0))
    changing.put(ENDPOINT, "a", assignment("a", port=2))
    responses += envoy.session.responses(now=5.0)
    for response in responses:
        found.append(envoy.session.oldest_pending())
        envoy.answer(response)
    assert [1.0, 5.0, None] == [*found, envoy.session.oldest_pending()]


def test_a_rejection_without_a_name_affects_all_new_resources() -> None:
    envoy = Envoy(snapshot("x1", "x2"))
    envoy.subscribe(ENDPOINT, "x1", "x2")
    (response,) = envoy.get()
    outcome = envoy.answer(response, error="malformed address")
    assert isinstance(outcome, Rejected)
    assert ("x1", "x2") == outcome.names


def test_what_one_envoy_rejects_stays_for_the_others() -> None:
    changing = snapshot("a", "b")
    changing.accept(CLUSTER, "b", changing.resources(CLUSTER)["b"].revision)
    broken, healthy = settled(Envoy(changing), "a", "b"), settled(Envoy(changing), "a", "b")
    changing.put(CLUSTER, "b", Cluster(name="b", alt_stat_name="new"))
    changing.put(CLUSTER, "c", Cluster(name="c"))
    refused, *_ = broken.get()
    broken.answer(refused, error="no")
    instead, *_ = broken.get()
    assert ([""], ["a", "b"]) == (_stat_names(instead, "b"), names(instead))  # as accepted before, and nothing new
    broken.answer(instead)
    accepted, *_ = healthy.get()
    assert (["new"], ["a", "b", "c"]) == (_stat_names(accepted, "b"), names(accepted))
    healthy.answer(accepted)
    changing.put(CLUSTER, "b", Cluster(name="b", alt_stat_name="newer"))
    for envoy in (broken, healthy):
        found, *_ = [response for response in envoy.get() if response.type_url == CLUSTER]
        assert ["newer"] == _stat_names(found, "b")


def _stat_names(response: DiscoveryResponse, name: str) -> list[str]:
    found = [Cluster.FromString(resource.value) for resource in response.resources]
    return [cluster.alt_stat_name for cluster in found if cluster.name == name]


def test_an_envoy_that_connects_again_gets_everything() -> None:
    existing = snapshot("a")
    settled(Envoy(existing), "a").end()
    envoy = Envoy(existing)
    envoy.session.receive(DiscoveryRequest(type_url=CLUSTER, version_info="17"))
    envoy.names[CLUSTER] = ()
    assert [(CLUSTER, ["a"])] == envoy.settle()


def test_an_unknown_type_is_ignored() -> None:
    envoy = Envoy(snapshot("a"))
    envoy.subscribe("type.googleapis.com/envoy.config.route.v3.RouteConfiguration")
    assert ([], True) == (envoy.get(), envoy.session.idle)


def test_a_listener_that_stays_rejected_does_not_count_against_others_of_later_responses() -> None:
    """Each response holds all listeners, so Envoy rejects it again for the same one."""
    changing = snapshot()
    changing.put(LISTENER, "other", Listener(name="other"))
    envoy = Envoy(changing)
    envoy.subscribe(LISTENER)
    (first,) = envoy.get()
    envoy.answer(first, error="Error adding/updating listener(s) gateway: address in use")
    (again,) = envoy.get()  # Envoy may have stopped before the other one
    outcome = envoy.answer(again, error="Error adding/updating listener(s) gateway: address in use")
    assert isinstance(outcome, Rejected)
    assert (["gateway", "other"], (), []) == (names(again), outcome.names, envoy.get())


def test_an_envoy_that_connects_again_keeps_the_cluster_of_which_it_rejects_the_change() -> None:
    """As one with an older filter after the upgrade of its router: a full response removes what it omits."""
    changing = snapshot("a", "b")
    envoy = Envoy(changing)
    envoy.names[CLUSTER] = ()
    envoy.session.receive(DiscoveryRequest(type_url=CLUSTER, version_info="17"))
    (first,) = envoy.get()
    envoy.answer(first, error="Error adding/updating cluster(s) b: no such module")
    found = []
    for name in ("c", "d"):
        changing.put(CLUSTER, name, Cluster(name=name))
        (response,) = envoy.get()
        found.append(names(response))
        envoy.answer(response, error="Error adding/updating cluster(s) b: no such module")
    assert ([["a", "b", "c"], ["a", "b", "c", "d"]], []) == (found, envoy.get())
    changing.put(CLUSTER, "b", Cluster(name="b", alt_stat_name="new"))
    (response,) = envoy.get()
    assert ["new"] == _stat_names(response, "b")


def test_a_cluster_is_omitted_if_what_replaces_it_is_rejected_too() -> None:
    changing = snapshot("a", "b")
    envoy = settled(Envoy(changing), "a", "b")
    changing.put(CLUSTER, "b", Cluster(name="b", alt_stat_name="new"))
    found = []
    for _ in range(2):
        response, *_ = [response for response in envoy.get() if response.type_url == CLUSTER]
        found.append(names(response))
        envoy.answer(response, error="b: no")
    assert ([["a", "b"], ["a", "b"]], [(CLUSTER, ["a"])]) == (found, envoy.settle()[:1])
