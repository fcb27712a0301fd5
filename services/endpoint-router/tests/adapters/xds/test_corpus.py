"""Discovery requests of the corpus, and what fuzzing makes of them, in any order on one stream."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.adapters.envoy.messages import Cluster, ClusterLoadAssignment, Listener
from arks.endpoint_router.adapters.xds import CLUSTER, ENDPOINT, LISTENER, ConfigSnapshot
from arks.endpoint_router.adapters.xds.session import Session
from arks.endpoint_router.adapters.xds.wire import FullState, Incremental
from arks.kit.testing.corpus import changed, corpus

REQUESTS = corpus(Path(__file__).parents[2] / "corpus/discovery")
DELTAS = corpus(Path(__file__).parents[2] / "corpus/discovery-deltas")
TYPES = (CLUSTER, ENDPOINT, LISTENER)


def snapshot() -> ConfigSnapshot:
    made = ConfigSnapshot()
    made.put(LISTENER, "gateway", Listener(name="gateway"))
    for name in ("a", "b"):
        made.put(CLUSTER, name, Cluster(name=name))
        made.put(ENDPOINT, name, ClusterLoadAssignment(cluster_name=name))
    return made


def parsed(wire: FullState | Incremental, messages: Sequence[bytes]) -> list[Any]:
    """The messages that gRPC would pass on."""
    found = []
    for message in messages:
        try:
            found.append(wire.request.FromString(message))
        except DecodeError:
            continue
    return found


def received(made: ConfigSnapshot) -> dict[str, list[bytes]]:
    """What a new Envoy receives, by type."""
    session = Session(made, FullState())
    for type_ in TYPES:
        session.receive(DiscoveryRequest(type_url=type_, resource_names=["a", "b"] if type_ == ENDPOINT else []))
    return {each.type_url: [resource.value for resource in each.resources] for each in session.responses(now=0.0)}


def exchange(made: ConfigSnapshot, wire: Any, messages: Sequence[bytes]) -> None:
    session, in_flight = Session[Any, Any](made, wire), set[str]()
    for request in parsed(wire, messages):
        outcome = session.receive(request)
        if outcome is not None:
            in_flight.discard(outcome.type_url)
        for response in session.responses(now=0.0):
            assert response.type_url not in in_flight, "two responses of a type at once"
            in_flight.add(response.type_url)


def inputs(found: dict[str, bytes]) -> st.SearchStrategy[list[bytes]]:
    return st.lists(changed(list(found.values())) | st.sampled_from(list(found.values())), max_size=12)


def test_every_request_of_the_corpus_is_a_message() -> None:
    assert len(REQUESTS) == len(parsed(FullState(), list(REQUESTS.values())))
    assert len(DELTAS) == len(parsed(Incremental(), list(DELTAS.values())))


@given(inputs(REQUESTS))
def test_no_requests_of_one_envoy_break_its_stream_or_change_what_others_receive(messages: list[bytes]) -> None:
    made = snapshot()
    before = received(made)
    exchange(made, FullState(), messages)
    assert before == received(made)


@given(inputs(DELTAS))
def test_no_incremental_requests_of_one_envoy_break_its_stream_or_change_what_others_receive(
    messages: list[bytes],
) -> None:
    made = snapshot()
    before = received(made)
    exchange(made, Incremental(), messages)
    assert before == received(made)
