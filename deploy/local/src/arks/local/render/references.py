"""References between resources that lead nowhere. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from arks.local.render.kinds import APPLICATION, AUTOSCALER, DISAGGREGATED, ENDPOINT, MODEL, QUOTA, TOKEN, Kind
from arks.local.render.plain import Object, spec_of
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


def missing_references(existing: Mapping[Kind, Sequence[Object]], of: Collection[Identity]) -> list[str]:
    """A sentence for each reference to something that does not exist, of the resources in `of`."""
    known = {_identity(item) for items in existing.values() for item in items}
    found: dict[str, None] = {}
    for items in existing.values():
        for item in items:
            if _identity(item) not in of:
                continue
            namespace = item["metadata"]["namespace"]
            for kind, name in references(item):
                if (kind.name, namespace, name) not in known:
                    title = f"{item['kind']} {item['metadata']['name']}"
                    guess = _closest(name, [other for other in known if other[:2] == (kind.name, namespace)])
                    found[f"{title} names {kind.name} {name}, which does not exist in {namespace}{guess}"] = None
    return list(found)


def _closest(name: str, known: Sequence[Identity]) -> str:
    guess = closest(name, [identity[2] for identity in known])
    return f"; did you mean {guess}?" if guess else ""


def _identity(resource: Object) -> Identity:
    return resource["kind"], resource["metadata"]["namespace"], resource["metadata"]["name"]
