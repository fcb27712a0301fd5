"""CustomResourceDefinitions from the models: what an API server checks is what Arks checks.

An API server takes structural schemas only: no references, no unions, no nulls, a type at every level.
"""

from typing import Any

import yaml

from arks.contracts.resources import CUSTOM_KINDS, PrinterColumn, Resource

Schema = dict[str, Any]

_KEPT = (
    "type",
    "description",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "not",
    "default",
    "required",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-map-type",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
)
_INT64_MAX = 2**63 - 1
"""Implied by `format: int64`; API servers hold limits as floats and would round it."""


class _Dumper(yaml.SafeDumper):
    """Writes repeated parts out: anchors and aliases are hard to read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def definition(resource: type[Resource]) -> Schema:
    """The CustomResourceDefinition of one kind, as plain data."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{resource.plural}.{resource.group}",
            "annotations": {"helm.sh/resource-policy": "keep"},
            "labels": {"app.kubernetes.io/name": "arks", "app.kubernetes.io/component": "crds"},
        },
        "spec": {
            "group": resource.group,
            "names": _names(resource),
            "scope": "Namespaced",
            "versions": [_version(resource)],
        },
    }


def definition_yaml(resource: type[Resource]) -> str:
    """The same as YAML, ready to be a Helm template: nothing in it may look like one."""
    text = yaml.dump(definition(resource), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    if "{{" in text:
        raise ValueError(f"{resource.__name__}: a description looks like a Helm template")
    return text


def definitions() -> dict[str, str]:
    """File name to YAML, for every kind of our own."""
    return {f"{resource.plural}.yaml": definition_yaml(resource) for resource in CUSTOM_KINDS}


def open_api_schema(resource: type[Resource]) -> Schema:
    """Structural OpenAPI v3 schema of one kind."""
    generated = resource.model_json_schema(by_alias=True, mode="validation")
    schema = structural(generated, generated.get("$defs", {}))
    properties = schema["properties"]
    properties["metadata"] = {"type": "object"}
    for name in ("apiVersion", "kind"):
        properties[name] = {"type": "string", "description": properties[name]["description"]}
    properties["status"] = _without_defaults(properties["status"])
    # An API server fills an absent spec with its fields' defaults only if spec itself has a default.
    schema["required"] = [name for name in schema.get("required", []) if name == "spec"]
    return {key: value for key, value in schema.items() if value != []}


def _names(resource: type[Resource]) -> Schema:
    names: Schema = {
        "kind": resource.__name__,
        "listKind": f"{resource.__name__}List",
        "plural": resource.plural,
        "singular": resource.singular,
        "categories": ["arks"],
    }
    return names | {"shortNames": list(resource.short_names)} if resource.short_names else names


def _version(resource: type[Resource]) -> Schema:
    subresources: Schema = {"status": {}}
    if resource.scale is not None:
        subresources["scale"] = {
            "specReplicasPath": resource.scale.spec_replicas,
            "statusReplicasPath": resource.scale.status_replicas,
            "labelSelectorPath": resource.scale.label_selector,
        }
    return {
        "name": resource.version,
        "served": True,
        "storage": True,
        "subresources": subresources,
        "additionalPrinterColumns": [_column(column) for column in resource.columns],
        "schema": {"openAPIV3Schema": open_api_schema(resource)},
    }


def _column(column: PrinterColumn) -> Schema:
    shown: Schema = {"name": column.name, "type": column.type, "jsonPath": column.json_path}
    return shown | {"priority": 1} if column.wide else shown


def structural(schema: Schema, defs: dict[str, Schema]) -> Schema:
    """The schema with references written out, `X | None` as X, and only keywords that a CRD may hold."""
    whole = _resolved(schema, defs)
    if "const" in whole:
        whole["enum"] = [whole["const"]]
    kept = {key: whole[key] for key in _KEPT if key in whole}
    if kept.get("maximum") == _INT64_MAX:
        del kept["maximum"]
    if kept.get("default", ...) in (None, ""):
        del kept["default"]
    if kept.get("format") == "password":
        del kept["format"]
    if "properties" in whole:
        kept["properties"] = {name: structural(value, defs) for name, value in whole["properties"].items()}
    if "items" in whole:
        kept["items"] = structural(whole["items"], defs)
    if isinstance(values := whole.get("additionalProperties"), dict):
        kept["additionalProperties"] = structural(values, defs)
    return kept


def _resolved(schema: Schema, defs: dict[str, Schema]) -> Schema:
    """References and optional types unwrapped; what stands beside them (description, default) wins."""
    own = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}
    if "$ref" in schema:
        return _resolved(defs[schema["$ref"].removeprefix("#/$defs/")], defs) | own
    if "anyOf" in schema:
        options = [option for option in schema["anyOf"] if option.get("type") != "null"]
        if len(options) != 1:
            raise ValueError(f"a CRD cannot express 'one of several types': {schema.get('title', schema)}")
        return _resolved(options[0], defs) | own
    return own


def _without_defaults(schema: Schema) -> Schema:
    """Status is written whole by its owner: an API server must not add to it."""
    bare = {key: value for key, value in schema.items() if key != "default"}
    if "properties" in bare:
        bare["properties"] = {name: _without_defaults(value) for name, value in bare["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(bare.get(key), dict):
            bare[key] = _without_defaults(bare[key])
    return bare
