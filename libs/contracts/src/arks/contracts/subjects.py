"""The one list of subjects, streams and buckets on the bus, and how names are written in them.

NATS separates the tokens of a subject with dots and gives `*`, `>` and white space a meaning. Kubernetes names may hold
dots, model names may hold anything: `encode` writes every byte other than letters, digits, `-` and `_` as `=XX`
(hexadecimal), which both subjects and KV keys allow, and `decode` reads it back.
"""

import re
from enum import StrEnum

EVENTS_STREAM = "ARKS_EVENTS"
EVENTS_SUBJECTS = "arks.events.>"
EVENTS_MAX_AGE_SECONDS = 7 * 24 * 3600
USAGE_STREAM = "ARKS_USAGE"
USAGE_SUBJECTS = "arks.usage.>"
USAGE_MAX_AGE_SECONDS = 30 * 24 * 3600
DEDUPLICATION_SECONDS = 120
"""Within it JetStream drops a message with a known id. Consumers deduplicate older repetitions themselves."""

RESOURCES_BUCKET = "arks-resources"
"""Resources on one machine (on Kubernetes: the API server). Key: `<plural>.<namespace>.<name>`."""


class Facts(StrEnum):
    """Buckets of facts: one writer each, many readers. Key: `<namespace>.<name>`."""

    MODELS = "arks-models"
    REPLICAS = "arks-replicas"
    ENDPOINTS = "arks-endpoints"
    SCALING = "arks-scaling"


class EventKind(StrEnum):
    MODEL = "model"
    APPLICATION = "application"
    ENDPOINT = "endpoint"
    SCALING = "scaling"
    QUOTA = "quota"
    TOKEN = "token"  # noqa: S105  # a kind of event, not a secret


_PLAIN = re.compile(rb"[A-Za-z0-9_-]")
_ESCAPE = re.compile(rb"=([0-9A-F]{2})")


def encode(name: str) -> str:
    """Write a name as one token of a subject or key. Reversible; the empty name is an error (ValueError)."""
    if not name:
        raise ValueError("an empty name cannot be part of a subject")
    return "".join(
        chr(byte) if _PLAIN.match(bytes([byte])) else f"={byte:02X}" for byte in name.encode("utf-8", "surrogatepass")
    )


def decode(token: str) -> str:
    """Read back what `encode` wrote."""
    if "=" not in token:
        return token
    raw = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), token.encode())
    return raw.decode("utf-8", "surrogatepass")


def fact_key(namespace: str, name: str) -> str:
    return f"{encode(namespace)}.{encode(name)}"


def split_fact_key(key: str) -> tuple[str, str]:
    """`<namespace>.<name>` of a fact's key, decoded."""
    namespace, name = key.split(".")
    return decode(namespace), decode(name)


def resource_key(plural: str, namespace: str, name: str) -> str:
    return f"{encode(plural)}.{fact_key(namespace, name)}"


def event_subject(kind: EventKind, verb: str, namespace: str, name: str) -> str:
    """`verb` is past tense and one word or dashed words: ready, failed, replica-ready."""
    return f"arks.events.{kind}.{encode(verb)}.{encode(namespace)}.{encode(name)}"


def usage_subject(namespace: str) -> str:
    return f"arks.usage.{encode(namespace)}"


def load_subject(namespace: str, application: str) -> str:
    return f"arks.load.{encode(namespace)}.{encode(application)}"


LOAD_SUBJECTS = "arks.load.>"


def stage_load_subject(namespace: str, application: str, stage: str) -> str:
    """Of load reports of the engines of a stage, to which no request is routed: replicas of metrics exchange them."""
    return f"arks.stages.{encode(namespace)}.{encode(application)}.{encode(stage)}"


METRICS_MEMBERS_SUBJECT = "arks.members.metrics"
"""Replicas of metrics divide the applications that they read."""


def stuck_subject(namespace: str, application: str) -> str:
    """Of load reports in which a replica is stuck, besides the subject of all load reports."""
    return f"arks.stuck.{encode(namespace)}.{encode(application)}"


STUCK_SUBJECTS = "arks.stuck.>"


def demand_subject(namespace: str, endpoint: str) -> str:
    return f"arks.demand.{encode(namespace)}.{encode(endpoint)}"


DEMAND_SUBJECTS = "arks.demand.>"
