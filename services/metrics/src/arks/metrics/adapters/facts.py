"""Replicas to read, from the facts of app-deployer."""

from arks.contracts.facts import ReplicaState, replica_facts
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.metrics.domain.replicas import Application, Replica
from arks.metrics.service.collector import Collector

_READ = {ReplicaState.READY, ReplicaState.DRAINING}
"""A starting replica has no metrics yet; a failed one has none any more."""


def follow(facts: Cache[ReplicasFact], collector: Collector) -> None:
    """Pass every change of the facts to the collector."""

    def on_change(key: Key) -> None:
        fact = facts.get(key)
        collector.change(key, None if fact is None else application_of(fact))

    facts.subscribe(on_change)


def application_of(fact: ReplicasFact) -> Application:
    """The application with those of its replicas that have metrics."""
    return Application(
        runtime=fact.runtime,
        replicas=tuple(
            Replica(replica.name, replica.host, replica.port, replica.slots, replica.restarts)
            for replica in replica_facts(fact)
            if replica.state in _READ
        ),
    )
