"""What an autoscaler scales: an application, or a stage of a disaggregated one, as its facts describe it. Pure."""

from dataclasses import dataclass

from arks.contracts.facts import ReplicaFact, replica_facts
from arks.contracts.resources import ArksAutoscaler
from arks.events.v1.facts_pb2 import ReplicasFact, StageFact
from arks.kit.key import Key
from arks.metrics.domain.scaling.limits import Limit

ROUTER = "router"


@dataclass(frozen=True, slots=True)
class Part:
    desired: int
    replicas: tuple[ReplicaFact, ...]
    served_model: str
    runtime: str
    missing: Limit | None = None
    """Why desired replicas do not run."""
    stage: str = ""
    """prefill, decode; ROUTER: what answers the requests of a disaggregated application."""


def part_key(application: Key, stage: str) -> Key:
    """Names of applications have no slash, so a stage's key is no application's."""
    return Key(application.namespace, f"{application.name}/{stage}") if stage else application


def whole_of(part: Key) -> Key:
    """The application of a part."""
    return Key(part.namespace, part.name.partition("/")[0])


def target_of(autoscaler: ArksAutoscaler) -> Key:
    """The key of the part that it scales."""
    target = autoscaler.spec.target
    return part_key(Key(autoscaler.namespace, target.name), target.stage or "")


def parts_of(fact: ReplicasFact) -> dict[Key, Part]:
    """The application itself first, whose replicas answer requests, then its stages."""
    application = Key(fact.namespace, fact.application)
    whole = Part(
        fact.desired,
        replica_facts(fact),
        fact.served_model,
        fact.runtime,
        _missing(fact),
        ROUTER if fact.stages else "",
    )
    stages = {
        part_key(application, stage.name): Part(
            stage.desired,
            tuple(ReplicaFact.from_message(replica) for replica in stage.replicas),
            fact.served_model,
            stage.runtime,
            _missing(stage),
            stage.name,
        )
        for stage in fact.stages
    }
    return {application: whole, **stages}


def work(stage: str, prompt_tokens: float, generated_tokens: float) -> float:
    """Which tokens are work of a stage: the prompt's of prefill, the generated of decode, otherwise both."""
    return (stage != "decode") * prompt_tokens + (stage != "prefill") * generated_tokens


def _missing(fact: ReplicasFact | StageFact) -> Limit | None:
    return Limit(fact.missing_reason, fact.missing_message) if fact.missing_reason else None
