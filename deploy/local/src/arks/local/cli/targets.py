"""Kinds and names of resources on the command line."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from arks.local.cli.failure import Exit, Failure, fail

if TYPE_CHECKING:
    from arks.contracts.resources import Resource


def kind_named(name: str) -> "type[Resource]":
    """By plural, singular or short name, with or without `arks` in front: models, app, am. Raises Failure."""
    from arks.contracts.resources import KINDS, find_kind

    spellings = (name, f"arks{name}", f"ark{name}", f"ark{name.removesuffix('s')}")
    kind = next((kind for spelling in spellings if (kind := find_kind(spelling)) is not None), None)
    if kind is None:
        known = ", ".join(kind.plural.removeprefix("arks") for kind in KINDS.values())
        fail(f"there is no kind {name!r}", f"kinds: {known}", Exit.USAGE)
    return kind


def kinds_and_names(kinds: str, names: Sequence[str]) -> "tuple[list[type[Resource]], list[str]]":
    """Parse `KIND[,KIND]` or `all` with names, or `KIND/NAME`. Raises Failure."""
    from arks.contracts.resources import CUSTOM_KINDS

    if "/" in kinds:
        kind, _, name = kinds.partition("/")
        if names or "," in kinds:
            fail(f"{kinds!r} names one resource: nothing may follow", "as in `arks get model/smollm2`", Exit.USAGE)
        return [kind_named(kind)], [name]
    chosen = list(CUSTOM_KINDS) if kinds == "all" else [kind_named(kind) for kind in kinds.split(",") if kind]
    if names and len(chosen) != 1:
        fail("names need exactly one kind", "as in `arks get models smollm2`", Exit.USAGE)
    return chosen, list(names)


def select(
    kind: "type[Resource]", resources: list[dict[str, Any]], names: Sequence[str], namespace: str | None
) -> list[dict[str, Any]]:
    """The resources of a namespace (None: of all) with these names, in their order; without names all of them.

    Raises Failure if a name is missing.
    """
    found = [resource for resource in resources if namespace in {None, resource["metadata"]["namespace"]}]
    if not names:
        return found
    selected: list[dict[str, Any]] = []
    for name in names:
        matching = [resource for resource in found if resource["metadata"]["name"] == name]
        if not matching:
            raise not_found(kind, name, namespace)
        selected += matching
    return selected


def not_found(kind: "type[Resource]", name: str, namespace: str | None) -> Failure:
    where = "in any namespace" if namespace is None else f"in namespace {namespace}"
    return Failure(f"there is no {kind.__name__} {name!r} {where}", f"see `arks get {kind.plural} -A`")
