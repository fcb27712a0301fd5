"""Kinds and names of resources on the command line, in all the forms that kubectl takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arks.local.cli.failure import Exit, Failure, fail
from arks.local.render.kinds import ARKS_KINDS, Kind, find_kind, words
from arks.local.render.spelling import closest

if TYPE_CHECKING:
    from arks.contracts.resources import Resource

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """Resources of one kind: those with the names, or all without names."""

    kind: Kind
    names: tuple[str, ...] = ()


def kind_named(name: str, *, or_name: bool = False) -> Kind:
    """By plural, singular or short name, with or without `arks` in front: models, app, am. Raises Failure.

    `or_name`: the user may have meant the name of a resource.
    """
    kind = find_kind(name)
    if kind is None:
        guess = closest(name.lower(), [*words(), *(kind.word for kind in ARKS_KINDS)])
        fail(
            f"there is no kind {name!r}" + (f"; did you mean {guess}?" if guess else ""),
            ("" if guess or not or_name else f"write the kind first, as in `app {name}`; ")
            + f"kinds: {', '.join(words())}",
            Exit.USAGE,
        )
    return kind


def resource_type(kind: Kind) -> "type[Resource]":
    from arks.contracts.resources import KINDS

    return KINDS[kind.name]


def targets(arguments: Sequence[str], *, named: bool = False) -> list[Target]:
    """Parse `KIND[,KIND]`, `all`, `KIND NAME...` or `KIND/NAME...`. `named`: names are required. Raises Failure."""
    if not arguments or not arguments[0].strip(","):
        fail("no resource given", "as in `arks get models` or `arks get model/smollm2`", Exit.USAGE)
    if any("/" in argument for argument in arguments):
        return [_qualified(argument) for argument in arguments]
    only_word = named and len(arguments) == 1
    chosen = (
        list(ARKS_KINDS)
        if arguments[0] == "all"
        else [kind_named(kind, or_name=only_word) for kind in arguments[0].split(",") if kind]
    )
    names = tuple(arguments[1:])
    if names and len(chosen) != 1:
        fail("names need exactly one kind", "as in `arks get models smollm2`", Exit.USAGE)
    if named and not names:
        fail("no name given", f"write {chosen[0].word} NAME or {chosen[0].word}/NAME", Exit.USAGE)
    return [Target(kind, names) for kind in chosen]


def _qualified(argument: str) -> Target:
    kind, _, name = argument.partition("/")
    if not kind or not name or "/" in name:
        fail(f"{argument!r} is not KIND/NAME", "as in `arks get model/smollm2 endpoint/smollm2`", Exit.USAGE)
    return Target(kind_named(kind), (name,))


def select(kind: Kind, resources: Sequence[Object], names: Sequence[str], namespace: str | None) -> list[Object]:
    """The resources of a namespace (None: of all) with these names, in their order; without names all of them.

    Raises Failure if a name is missing.
    """
    found = [resource for resource in resources if namespace in {None, resource["metadata"]["namespace"]}]
    if not names:
        return found
    selected: list[Object] = []
    for name in names:
        matching = [resource for resource in found if resource["metadata"]["name"] == name]
        if not matching:
            raise not_found(kind, name, namespace, resources)
        selected += matching
    return selected


def not_found(kind: Kind, name: str, namespace: str | None, resources: Sequence[Object] = ()) -> Failure:
    """`resources`: those that exist, for a suggestion."""
    where = "in any namespace" if namespace is None else f"in namespace {namespace}"
    elsewhere = [item["metadata"]["namespace"] for item in resources if item["metadata"]["name"] == name]
    here = [item["metadata"]["name"] for item in resources if namespace in {None, item["metadata"]["namespace"]}]
    if elsewhere:
        return Failure(f"there is no {kind.name} {name!r} {where}", f"there is one with `-n {elsewhere[0]}`")
    guess = closest(name, here)
    hint = f"did you mean {guess}?" if guess else f"see `arks get {kind.plural.removeprefix('arks')} -A`"
    return Failure(f"there is no {kind.name} {name!r} {where}", hint)


def labels_match(selector: str) -> "Selector":
    """Parse `a=b,c!=d,e,!f` as kubectl does. Raises Failure."""
    parts = [part.strip() for part in selector.split(",")]
    if not all(parts):
        fail(
            f"{selector!r} is not a selector",
            "write LABEL=VALUE, LABEL!=VALUE, LABEL or !LABEL, with commas",
            Exit.USAGE,
        )
    return Selector(tuple(parts))


@dataclass(frozen=True, slots=True)
class Selector:
    """Conditions on labels, all of which have to hold."""

    parts: tuple[str, ...]

    def holds(self, resource: Object) -> bool:
        labels: dict[str, str] = resource["metadata"].get("labels") or {}
        return all(_holds(part, labels) for part in self.parts)


def _holds(part: str, labels: dict[str, str]) -> bool:
    if "!=" in part:
        name, _, value = part.partition("!=")
        return labels.get(name.strip()) != value.strip()
    if "=" in part:
        name, _, value = part.replace("==", "=").partition("=")
        return labels.get(name.strip()) == value.strip()
    return part[1:] not in labels if part.startswith("!") else part in labels
