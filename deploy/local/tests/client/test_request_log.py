"""Requests of the usage stream, with the names of their replicas."""

from arks.contracts.facts import ReplicaFact
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.local.client.request_log import names_by_address


def fact(namespace: str, *replicas: ReplicaFact) -> ReplicasFact:
    return ReplicasFact(namespace=namespace, replicas=[replica.to_message() for replica in replicas])


def test_replicas_are_known_by_the_address_that_the_gateway_logs() -> None:
    """An address is of one namespace; brackets are Envoy's for IPv6."""
    facts = [
        fact("default", ReplicaFact("qwen-0", "127.0.0.1", 21001), ReplicaFact("qwen-1")),
        fact("team-a", ReplicaFact("llama-0", "fd00::7", 8080)),
    ]
    assert {
        ("default", "127.0.0.1:21001"): "qwen-0",
        ("team-a", "[fd00::7]:8080"): "llama-0",
    } == names_by_address(facts)
