"""Warnings of applications whose model does not fit the memory, from the condition Fits. Pure."""

from collections.abc import Iterator, Sequence

from arks.local.render.plain import Object, condition, spec_of, status_of

Names = Sequence[tuple[str, str]]
"""Namespace and name of each."""


def fit_warnings(applications: Sequence[Object], applied: Names) -> Iterator[str]:
    for application in _of(applications, applied):
        found = condition(application, "Fits")
        if found.get("status") == "False":
            yield f"{application['kind']} {application['metadata']['name']}: {found.get('message', '')}"


def may_be_judged(applications: Sequence[Object], models: Sequence[Object], applied: Names) -> bool:
    """Whether the sizes of a model of theirs are known, so that a condition will come soon."""
    sized = {_key(model) for model in models if status_of(model).get("memory")}
    wanted = {
        (application["metadata"]["namespace"], (spec_of(application).get("model") or {}).get("name"))
        for application in _of(applications, applied)
    }
    return bool(sized & wanted)


def _of(applications: Sequence[Object], applied: Names) -> list[Object]:
    return [application for application in applications if _key(application) in applied]


def _key(resource: Object) -> tuple[str, str]:
    return resource["metadata"]["namespace"], resource["metadata"]["name"]
