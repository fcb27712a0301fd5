"""What a launch consists of on Kubernetes: containers, their images and environment."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from arks.contracts.resources import ArksInstanceSpec

HTTP_PORT = 8080
DISTRIBUTED_PORT = 20000
LEADER_ADDRESS = "$(LWS_LEADER_ADDRESS)"
GROUP_SIZE = "$(LWS_GROUP_SIZE)"
WORKER_INDEX = "$(LWS_WORKER_INDEX)"
_LABEL_CHARACTERS = 63
_WORKER_INDEX_LABEL = "leaderworkerset.sigs.k8s.io/worker-index"


@dataclass(frozen=True, slots=True)
class Images:
    """Images of engines whose spec names none. Every one can be set by the environment (see config.py)."""

    vllm: str = "vllm/vllm-openai:v0.8.2"
    sglang: str = "lmsysorg/sglang:v0.4.5-cu124"
    dynamo: str = "scitixai/k8s/dynamo:vllm"
    llamacpp: str = "arks/llamacpp:0.1.0"
    disaggregated_sglang: str = "lmsysorg/sglang:v0.5.1.post1-cu126"
    disaggregated_router: str | None = None
    """None: the same as `disaggregated_sglang`."""


@dataclass(frozen=True, slots=True)
class Container:
    image: str
    command: tuple[str, ...]
    env: tuple[dict[str, Any], ...] = field(default=())
    """Kubernetes' EnvVar objects, in order: later ones may refer to earlier ones as `$(NAME)`."""


@dataclass(frozen=True, slots=True)
class Group:
    """One replica: a leader, and workers where it spans several nodes."""

    leader: Container
    worker: Container | None = None
    """None: the runtime needs no worker."""


def model_path(namespace: str, model: str, sub_path: str | None) -> str:
    """Where a container finds the model: `/models/<subPath>`, else `/models/models/<namespace>/<model>`."""
    return f"/models/{sub_path}" if sub_path else f"/models/models/{namespace}/{model}"


def label_value(name: str) -> str:
    """A resource's name as the value of a label, which holds 63 characters: longer names end in their digest."""
    if len(name) <= _LABEL_CHARACTERS:
        return name
    return f"{name[: _LABEL_CHARACTERS - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def shell(line: str) -> tuple[str, ...]:
    """`line` must be made of fixed text and `words.quoted`."""
    return ("/bin/bash", "-c", line)


def user_env(spec: ArksInstanceSpec | None) -> tuple[dict[str, Any], ...]:
    return tuple(variable.to_dict() for variable in spec.env) if spec else ()


def worker_index_env() -> dict[str, Any]:
    """LWS_WORKER_INDEX from the pod's label: older LeaderWorkerSets do not set the variable themselves."""
    return {
        "name": "LWS_WORKER_INDEX",
        "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{_WORKER_INDEX_LABEL}']"}},
    }
