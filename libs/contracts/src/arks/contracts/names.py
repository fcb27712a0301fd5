"""Names of Kubernetes objects that more than one service has to know."""

APPLICATION_LABEL = "arks.ai/application"
"""Label of an application's pods; its value is the application's name."""
MODEL_LABEL = "arks.ai/model"
_SERVICE_PREFIX = "arks-application-"
SERVICE_NAME_FORM = f"{_SERVICE_PREFIX}<name>"
"""For messages."""
SERVICE_PORT = 8080
"""Port of every application's Service."""


def service_name(application: str) -> str:
    """Name of the Service in front of an application's replicas."""
    return f"{_SERVICE_PREFIX}{application}"


def application_of_service(service: str) -> str | None:
    """The application whose Service has this name; None if the name has another form."""
    return service.removeprefix(_SERVICE_PREFIX) if service.startswith(_SERVICE_PREFIX) else None
