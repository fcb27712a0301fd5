"""Replicas to read, from the facts of app-deployer."""

from arks.contracts.facts import ReplicaState
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.metrics.domain.replicas import Application, Replica
from arks.metrics.domain.scaling.parts import Part, parts_of
from arks.metrics.service.collector import Collector

_READ = {ReplicaState.READY, ReplicaState.DRAINING}
"""A starting replica has no metrics yet; a failed one has none any more."""


def follow(facts: Cache[ReplicasFact], collector: Collector) -> None:
    """Pass every change of the facts to the collector. Engines of a stage are read without reports, because no request
    is routed to them."""
    stages: dict[Key, set[Key]] = {}

    def on_change(key: Key) -> None:
        fact = facts.get(key)
        found = {} if fact is None else parts_of(fact)
        read = {part: each for part, each in found.items() if part != key and each.runtime}
        for gone in stages.pop(key, set()) - read.keys():
            collector.change(gone, None)
        if read:
            stages[key] = set(read)
        for part, each in read.items():
            collector.change(part, application_of(each), reported=False)
        whole = found.get(key)
        collector.change(key, None if whole is None else application_of(whole))

    facts.subscribe(on_change)


def application_of(part: Part) -> Application:
    """The replicas that have metrics."""
    return Application(
        runtime=part.runtime,
        replicas=tuple(
            Replica(replica.name, replica.host, replica.port, replica.slots, replica.restarts)
            for replica in part.replicas
            if replica.state in _READ
        ),
    )
