"""References between resources that lead nowhere. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from arks.local.render.kinds import APPLICATION, AUTOSCALER, DISAGGREGATED, ENDPOINT, MODEL, QUOTA, TOKEN, Kind
from arks.local.render.plain import Object, condition, spec_of
from arks.local.render.spelling import closest

Identity = tuple[str, str, str]
"""Kind, namespace and name of a resource."""


def references(resource: Object) -> Iterator[tuple[Kind, str]]:
    """What a resource names, in its own namespace."""
    spec = spec_of(resource)
    if resource["kind"] in {APPLICATION.name, DISAGGREGATED.name}:
        yield MODEL, str((spec.get("model") or {}).get("name", ""))
    if resource["kind"] == AUTOSCALER.name:
        target = spec.get("target") or {}
        yield DISAGGREGATED if target.get("kind") == DISAGGREGATED.name else APPLICATION, str(target.get("name", ""))
    if resource["kind"] == TOKEN.name:
        for qos in spec.get("qos", []):
            yield ENDPOINT, str((qos.get("arksEndpoint") or {}).get("name", ""))
            if quota := (qos.get("quota") or {}).get("name"):
                yield QUOTA, str(quota)


ENDED = frozenset({"Disabled", "Expired"})
"""Reasons for which a token is not ready because its user has ended it."""


def has_ended(token: Object) -> bool:
    """Whether its user has ended the key: what it names does not matter any more."""
    return bool(spec_of(token).get("disabled")) or condition(token, "Ready").get("reason") in ENDED


def missing_references(existing: Mapping[Kind, Sequence[Object]], of: Collection[Identity]) -> list[str]:
    """A sentence for each reference to something that does not exist, of the resources in `of`."""
    known = _known(existing)

    def sentence(title: str, missing: Identity) -> str:
        kind, namespace, name = missing
        guess = _closest(name, [other for other in known if other[:2] == (kind, namespace)])
        return f"{title} names {kind} {name}, which does not exist in {namespace}{guess}"

    found = ((item, missing) for item, missing in _missing(existing, known) if _identity(item) in of)
    return list(dict.fromkeys(sentence(_title(item), missing) for item, missing in found))


def references_to_deleted(existing: Mapping[Kind, Sequence[Object]], deleted: Collection[Identity]) -> list[str]:
    """A sentence for each reference to something that was deleted. `existing`: what there is after that."""
    found = ((item, missing) for item, missing in _missing(existing, _known(existing)) if missing in deleted)
    return list(dict.fromkeys(f"{_title(item)} still names {kind} {name}" for item, (kind, _, name) in found))


def _missing(
    existing: Mapping[Kind, Sequence[Object]], known: Collection[Identity]
) -> Iterator[tuple[Object, Identity]]:
    """Each resource that names something which does not exist, with what it names; no keys that were ended."""
    for items in existing.values():
        for item in items:
            if item["kind"] == TOKEN.name and has_ended(item):
                continue
            for kind, name in references(item):
                identity = (kind.name, item["metadata"]["namespace"], name)
                if identity not in known:
                    yield item, identity


def _known(existing: Mapping[Kind, Sequence[Object]]) -> set[Identity]:
    return {_identity(item) for items in existing.values() for item in items}


def _title(resource: Object) -> str:
    return f"{resource['kind']} {resource['metadata']['name']}"


def _closest(name: str, known: Sequence[Identity]) -> str:
    guess = closest(name, [identity[2] for identity in known])
    return f"; did you mean {guess}?" if guess else ""


def _identity(resource: Object) -> Identity:
    return resource["kind"], resource["metadata"]["namespace"], resource["metadata"]["name"]
