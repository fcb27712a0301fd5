"""The kinds that Arks knows, found by any name that kubectl would take."""

from arks.contracts.resources.application import ArksApplication
from arks.contracts.resources.autoscaler import ArksAutoscaler
from arks.contracts.resources.disaggregated import ArksDisaggregatedApplication
from arks.contracts.resources.endpoint import ArksEndpoint
from arks.contracts.resources.meta import Resource
from arks.contracts.resources.model import ArksModel
from arks.contracts.resources.quota import ArksQuota
from arks.contracts.resources.secret import Secret
from arks.contracts.resources.token import ArksToken

CUSTOM_KINDS: tuple[type[Resource], ...] = (
    ArksModel,
    ArksApplication,
    ArksDisaggregatedApplication,
    ArksAutoscaler,
    ArksEndpoint,
    ArksToken,
    ArksQuota,
)
"""Kinds of our own: those with a CRD."""

KINDS: dict[str, type[Resource]] = {custom.__name__: custom for custom in CUSTOM_KINDS} | {"Secret": Secret}
"""Every kind by its name as in a manifest, in the order in which they are best applied."""


def _names(resource: type[Resource]) -> tuple[str, ...]:
    names = (resource.__name__.lower(), resource.plural, resource.singular, *resource.short_names)
    return (*names, f"{resource.plural}.{resource.group}") if resource.group else names


_BY_NAME: dict[str, type[Resource]] = {name: resource for resource in KINDS.values() for name in _names(resource)}


def find_kind(name: str) -> type[Resource] | None:
    """The kind by its name, plural, singular or short name, in any case: `ArksModel`, `arksmodels`, `am`."""
    return _BY_NAME.get(name.lower())


def kind_names() -> list[str]:
    """All names that `find_kind` takes, sorted, for messages."""
    return sorted(_BY_NAME)
