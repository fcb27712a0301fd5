"""Names of Kubernetes objects that more than one service has to know."""

import hashlib

APPLICATION_LABEL = "arks.ai/application"
"""Label of an application's pods; its value is the application's name."""
MODEL_LABEL = "arks.ai/model"
_SERVICE_PREFIX = "arks-application-"
SERVICE_NAME_FORM = f"{_SERVICE_PREFIX}<name>"
"""For messages."""
SERVICE_PORT = 8080
"""Port of every application's Service."""

CACHE_PVC = "arks-model-cache"
"""The PVC of each namespace through which engines read the copies of models on their nodes."""
CACHE_LABELS = "models.arks.ai/"
"""Prefix of labels of nodes that hold copies of models."""


def cache_label(namespace: str, model: str) -> str:
    """Label of the nodes that hold a copy of the model. It does not show whose model it is."""
    return f"{CACHE_LABELS}{hashlib.sha256(f'{namespace}/{model}'.encode()).hexdigest()[:32]}"


def service_name(application: str) -> str:
    """Name of the Service in front of an application's replicas."""
    return f"{_SERVICE_PREFIX}{application}"


def application_of_service(service: str) -> str | None:
    """The application whose Service has this name; None if the name has another form."""
    return service.removeprefix(_SERVICE_PREFIX) if service.startswith(_SERVICE_PREFIX) else None
