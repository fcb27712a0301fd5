"""What a launch consists of on Kubernetes: containers, their images and environment."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from arks.contracts.resources import ArksInstanceSpec

HTTP_PORT = 8080
_LABEL_CHARACTERS = 63


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


def user_env(spec: ArksInstanceSpec | None) -> tuple[dict[str, Any], ...]:
    return tuple(variable.to_dict() for variable in spec.env) if spec else ()
