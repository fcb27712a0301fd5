"""Parse documents into typed resources. All errors are collected, so that a user sees them at once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from arks.contracts.manifests.messages import closest, comma_separated, field_path, preview, sentence
from arks.contracts.resources import DEFAULT_NAMESPACE, KINDS, Location, Resource, Secret
from arks.local.manifests.reader import Document, read_documents

LIST_KIND = "List"


@dataclass(frozen=True, slots=True)
class Finding:
    """An error or a warning, with its location."""

    file: str
    line: int
    """From 1."""
    field: str
    """`spec.qos[0].arksEndpoint.name`; empty for the whole document."""
    message: str
    kind: str = ""
    """Of the resource; empty if it has none that exists."""

    def __str__(self) -> str:
        about = f"{self.field}: " if self.field else ""
        return f"{self.file}:{self.line}: {about}{self.message}"


@dataclass(slots=True)
class Manifests:
    """The parsed manifests. If there are errors, nothing may be applied."""

    resources: list[Resource] = field(default_factory=list)
    errors: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Item:
    """One resource of a document, before validation."""

    file: str
    document: Document
    data: Any
    at: Location
    """Its location in the document: () or ("items", 3)."""

    def finding(self, at: Location, message: str) -> Finding:
        whole = (*self.at, *at)
        kind = self.data.get("kind") if isinstance(self.data, dict) else None
        known = kind if isinstance(kind, str) and kind in KINDS else ""
        return Finding(self.file, self.document.line(whole), field_path(whole), message, known)


def parse_manifests(sources: Iterable[tuple[str, str]], *, default_namespace: str = DEFAULT_NAMESPACE) -> Manifests:
    """Read `(file name, text)` pairs that are applied together. The file's name is only used in findings."""
    result = Manifests()
    first_seen: dict[tuple[str, str], Finding] = {}
    for file, text in sources:
        errors: list[Finding] = []
        for document in read_documents(text):
            errors += [
                Finding(file, problem.line, field_path(problem.at), problem.message) for problem in document.problems
            ]
            for item in _items(file, document, errors):
                resource = _resource(item, default_namespace, errors)
                if resource is not None and not _repeated(item, resource, first_seen, errors):
                    result.resources.append(resource)
                    result.warnings += _warnings(item, resource)
        result.errors += sorted(errors, key=lambda finding: finding.line)
    return result


def _items(file: str, document: Document, errors: list[Finding]) -> Iterator[_Item]:
    """The resources of a document: itself, or the items of a `List`."""
    whole = _Item(file, document, document.data, ())
    if document.data is None:
        return
    if not isinstance(document.data, dict) or document.data.get("kind") != LIST_KIND:
        yield whole
        return
    items = document.data.get("items", [])
    if not isinstance(items, list):
        errors.append(whole.finding(("items",), "must be a list"))
        return
    for position, data in enumerate(items):
        yield _Item(file, document, data, ("items", position))


def _resource(item: _Item, default_namespace: str, errors: list[Finding]) -> Resource | None:
    if not isinstance(item.data, dict):
        errors.append(item.finding((), "must be a mapping with apiVersion, kind, metadata and spec"))
        return None
    kind = item.data.get("kind")
    resource_type = KINDS.get(kind) if isinstance(kind, str) else None
    if resource_type is None:
        errors.append(item.finding(("kind",), _unknown_kind(kind)))
        return None
    unversioned = item.data.get("apiVersion") is None
    if unversioned:
        errors.append(item.finding(("apiVersion",), "is missing"))
    try:
        resource = resource_type.from_dict(_as_applied(item.data, default_namespace))
    except ValidationError as error:
        errors += _findings(item, error, resource_type)
        return None
    return None if unversioned else resource


def _as_applied(data: dict[str, Any], default_namespace: str) -> dict[str, Any]:
    """The data without `status`, which only services write, and with the default namespace if it has none."""
    applied = {key: value for key, value in data.items() if key != "status"}
    metadata = applied.get("metadata")
    if isinstance(metadata, dict) and metadata.get("namespace") is None:
        applied["metadata"] = {**metadata, "namespace": default_namespace}
    return applied


def _unknown_kind(kind: object) -> str:
    if kind is None:
        return "is missing"
    if kind == "Namespace":
        return "namespaces need no object on one machine; `kubectl` creates those of a cluster"
    guess = closest(kind, KINDS) if isinstance(kind, str) else None
    hint = f"did you mean {guess}?" if guess else f"kinds: {comma_separated(KINDS)}"
    return f"unknown kind {preview(kind)}: {hint}"


def _findings(item: _Item, error: ValidationError, resource_type: type[Resource]) -> list[Finding]:
    return [
        item.finding(details["loc"], sentence(details, resource_type)) for details in error.errors(include_url=False)
    ]


def _repeated(
    item: _Item, resource: Resource, first_seen: dict[tuple[str, str], Finding], errors: list[Finding]
) -> bool:
    identity = (resource.kind, resource.key)
    here = item.finding(("metadata", "name"), "")
    first = first_seen.setdefault(identity, here)
    if first is here:
        return False
    message = f"{resource.kind} {resource.key} is given twice; the first time in {first.file}:{first.line}"
    errors.append(item.finding(("metadata", "name"), message))
    return True


def _warnings(item: _Item, resource: Resource) -> list[Finding]:
    if not isinstance(resource, Secret):
        return []
    return [
        item.finding(("data", key), "is not base64 of text, so this value cannot be used")
        for key in resource.undecodable_keys()
    ]
