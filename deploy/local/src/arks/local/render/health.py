"""Whether a resource works, and why not, from its status. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arks.local.render.kinds import APPLICATION, DISAGGREGATED, ENDPOINT, MODEL, QUOTA, TOKEN, Kind
from arks.local.render.plain import Object, condition, spec_of, status_of
from arks.local.render.references import ENDED, has_ended, references

_MEANT = ENDED | {"ScaledToZero"}
"""Reasons that a user has chosen: not ready, and nothing is wrong."""

_PASSING = frozenset({"EngineEnded", "WaitingForModel"})
"""Reasons for which a rollout stands still and goes on by itself."""
_LASTING = frozenset({"DeadlineExceeded", "NotEnoughMemory"})
"""Reasons for which it does not, until someone changes something."""
_MODEL_GONE = "ModelNotExist"
"""Reason of an application's condition Loaded."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a user has to look at."""

    what: str
    """`application qwen`, with its namespace unless it is default."""
    state: str
    message: str
    next_step: str


def is_ready(resource: Object) -> bool:
    """Whether it does what it is for: the condition Ready describes the present spec and is True."""
    if resource["kind"] == QUOTA.name:
        return condition(resource, "Exceeded").get("status") != "True"
    return condition(resource, "Ready").get("status") == "True" and is_current(resource)


def rolling_out(resource: Object) -> str:
    """What is not done yet of an application that serves already; empty if all its replicas run the present spec."""
    if resource["kind"] not in {APPLICATION.name, DISAGGREGATED.name}:
        return ""
    found = condition(resource, "Progressing")
    return "" if found.get("reason", "Complete") == "Complete" else str(found.get("message") or found["reason"])


def is_stuck(resource: Object) -> bool:
    """Whether an application does not get all replicas of its present spec, although some may serve.

    As for `kubectl rollout status`, the deadline decides: other reasons, as a missing image, may pass before it. But
    the memory of one machine does not grow by itself.
    """
    return is_current(resource) and any(reason in _LASTING for reason, _ in _stuck_rollout(resource))


def is_current(resource: Object) -> bool:
    """Whether the status describes the present spec."""
    return bool(status_of(resource).get("observedGeneration") == resource["metadata"].get("generation"))


def has_failed(resource: Object) -> bool:
    """Whether it stays as it is until someone changes something."""
    if resource["kind"] in {MODEL.name, APPLICATION.name, DISAGGREGATED.name}:
        return bool(status_of(resource).get("phase") == "Failed")
    found = condition(resource, "Ready")
    return found.get("status") == "False" and found.get("reason") not in _MEANT


def why(resource: Object) -> str:
    """Why it is not ready, or what it lacks to start again; else empty. An explanation of the first condition that does
    not hold.
    """
    if is_ready(resource):
        return _lacks_model(resource)
    found = [item for item in status_of(resource).get("conditions", []) if item["status"] != "True"]
    if resource["kind"] == QUOTA.name:
        return str(condition(resource, "Exceeded").get("message", ""))
    messages = [" ".join(str(item["message"]).split()) for item in found if item.get("message")]
    return messages[0] if messages else "waiting for its controller" if not found else str(found[0].get("reason", ""))


def _lacks_model(resource: Object) -> str:
    """That the model of an application which serves does not exist any more; else empty. As a Pod whose ConfigMap was
    deleted it runs on, and does not start again.
    """
    if resource["kind"] not in {APPLICATION.name, DISAGGREGATED.name}:
        return ""
    found = condition(resource, "Loaded")
    is_gone = found.get("status") == "False" and found.get("reason") == _MODEL_GONE
    return str(found.get("message") or _MODEL_GONE) if is_gone else ""


def problems(resources: Mapping[Kind, Sequence[Object]]) -> list[Problem]:
    """What is wrong with the resources. What only follows from another problem is left out."""
    failed = [
        Problem(_named(kind, resource), _state(resource), why(resource), _next_step(kind, resource))
        for kind, found in resources.items()
        for resource in found
        if has_failed(resource) and not (kind is ENDPOINT and _waits_for_application(resource, resources))
    ]
    lacking = [
        Problem(_named(kind, resource), _MODEL_GONE, why(resource), _next_step(kind, resource))
        for kind, found in resources.items()
        for resource in found
        if is_ready(resource) and _lacks_model(resource)
    ]
    stuck = [
        Problem(_named(kind, resource), reason, message, _next_step(kind, resource))
        for kind, found in resources.items()
        for resource in found
        if is_ready(resource) and not _lacks_model(resource)
        for reason, message in _stuck_rollout(resource)
    ]
    return [*failed, *lacking, *stuck, *_dangling(resources)]


def _stuck_rollout(application: Object) -> Iterator[tuple[str, str]]:
    """Reason and message of what keeps an application from its present spec, or from all of its replicas."""
    if application["kind"] in {APPLICATION.name, DISAGGREGATED.name}:
        found = condition(application, "Progressing")
        if found.get("status") == "False" and found.get("reason") not in _PASSING:
            yield str(found["reason"]), str(found.get("message", ""))


def waits_for_start(endpoint: Object, resources: Mapping[Kind, Sequence[Object]]) -> bool:
    """Whether an application of its model starts: the endpoint gets ready with it."""
    return any(not is_ready(item) and not has_failed(item) for item in _applications_of(endpoint, resources))


def _waits_for_application(endpoint: Object, resources: Mapping[Kind, Sequence[Object]]) -> bool:
    """Whether an application of its model exists: what is wrong is shown there."""
    return bool(_applications_of(endpoint, resources))


def _applications_of(endpoint: Object, resources: Mapping[Kind, Sequence[Object]]) -> list[Object]:
    key = (endpoint["metadata"]["namespace"], public_name(endpoint))
    applications = [*resources.get(APPLICATION, ()), *resources.get(DISAGGREGATED, ())]
    return [item for item in applications if (item["metadata"]["namespace"], served_name(item)) == key]


def public_name(endpoint: Object) -> str:
    """What clients write into `model`."""
    return str(spec_of(endpoint).get("servedModelName") or endpoint["metadata"]["name"])


def served_name(application: Object) -> str:
    spec = spec_of(application)
    return str(spec.get("servedModelName") or (spec.get("model") or {}).get("name", ""))


def _dangling(resources: Mapping[Kind, Sequence[Object]]) -> Iterator[Problem]:
    """Tokens that name endpoints which do not exist, unless their user has ended them."""
    known = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in resources.get(ENDPOINT, ())}
    for token in resources.get(TOKEN, ()):
        if has_ended(token):
            continue
        namespace = token["metadata"]["namespace"]
        missing = [name for name in endpoints_of(token) if (namespace, name) not in known]
        if missing and ENDPOINT in resources:
            message = f"names endpoints that do not exist: {', '.join(missing)}"
            name, where = token["metadata"]["name"], _where(namespace)
            next_step = f"create them, or take them out of it with `arks edit token {name}{where}`"
            yield Problem(_named(TOKEN, token), "EndpointNotFound", message, next_step)


def endpoints_of(token: Object) -> list[str]:
    return [name for kind, name in references(token) if kind is ENDPOINT]


def _named(kind: Kind, resource: Object) -> str:
    metadata = resource["metadata"]
    prefix = "" if metadata["namespace"] == "default" else f"{metadata['namespace']}/"
    return f"{kind.word} {prefix}{metadata['name']}"


def _state(resource: Object) -> str:
    phase: Any = status_of(resource).get("phase")
    return str(phase or condition(resource, "Ready").get("reason") or "not ready")


def _next_step(kind: Kind, resource: Object) -> str:
    return see_describe(kind, resource["metadata"]["namespace"], resource["metadata"]["name"])


def see_describe(kind: Kind, namespace: str, name: str) -> str:
    """The next step of a user who wants to know everything about a resource."""
    return f"see `arks describe {kind.word} {name}{_where(namespace)}`"


def _where(namespace: str) -> str:
    return "" if namespace == "default" else f" -n {namespace}"
