"""Conditions of a resource's status, for waits."""

from collections.abc import Callable

from e2e.support.cluster import Object


def condition(resource: Object, type_: str) -> Object:
    """Empty when it has none of this type."""
    conditions = resource.get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == type_), {})


def in_phase(wanted: str) -> Callable[[Object], bool]:
    return lambda resource: resource.get("status", {}).get("phase") == wanted


def has_condition(type_: str, reason: str, *words: str) -> Callable[[Object], bool]:
    """The condition is made from the newest spec, has this reason, and all of these words are in its message."""

    def holds(resource: Object) -> bool:
        found = condition(resource, type_)
        current = found.get("observedGeneration") == resource["metadata"]["generation"]
        return current and found["reason"] == reason and all(word in found["message"] for word in words)

    return holds


def has_phases(*names: str) -> Callable[[Object], bool]:
    """Whether the first replica has these times of its start. `warmUpSeconds` comes with its first token, for which
    app-deployer sends a request once the replica is ready.
    """

    def holds(application: Object) -> bool:
        instances = application.get("status", {}).get("instances", [])
        return bool(instances) and set(names) <= instances[0].get("start", {}).keys()

    return holds
