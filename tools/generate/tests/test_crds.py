"""The definitions: structural, complete, and current on disk."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from cel import cel  # the extension itself: another package brings an empty module of the same name

from arks.contracts.resources import CUSTOM_KINDS, ArksApplication, ArksToken, Resource
from tools.generate.__main__ import main
from tools.generate.crds import definition, definition_yaml, open_api_schema
from tools.generate.files import generated_files, stale_files, write_files
from tools.generate.reference import reference_page, undescribed_fields

ROOT = Path(__file__).parents[3]
ALLOWED = {
    "type", "description", "format", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems",
    "maxItems", "maxProperties", "not", "default", "required", "properties", "items", "additionalProperties",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-map-type", "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys", "x-kubernetes-validations",
}  # fmt: skip
kinds = pytest.mark.parametrize("kind", CUSTOM_KINDS, ids=lambda kind: kind.__name__)


def nodes(schema: dict[str, Any], at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield at, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{at}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from nodes(schema[key], f"{at}[]")


@kinds
def test_a_schema_is_structural(kind: type[Resource]) -> None:
    for at, node in nodes(open_api_schema(kind)):
        assert set() == set(node) - ALLOWED, at
        assert "type" in node or node.get("x-kubernetes-preserve-unknown-fields"), at
        assert not ("properties" in node and "additionalProperties" in node), at
        assert ("items" in node) == (node.get("type") == "array"), at
        assert set(node.get("required", [])) <= set(node.get("properties", {})), at
        if node.get("x-kubernetes-list-type") == "map":
            assert set(node["x-kubernetes-list-map-keys"]) <= set(node["items"]["required"]), at


@kinds
def test_no_field_is_without_a_description(kind: type[Resource]) -> None:
    described = [at for at, node in nodes(open_api_schema(kind)) if at and "[]" not in at and at != ".metadata"]
    schema = dict(nodes(open_api_schema(kind)))
    assert [] == [at for at in described if not schema[at].get("description")]
    assert [] == undescribed_fields()


@kinds
def test_rules_compile_and_name_their_fields(kind: type[Resource]) -> None:
    for at, node in nodes(open_api_schema(kind)):
        for validation in node.get("x-kubernetes-validations", []):
            cel.compile(validation["rule"])
            assert validation["message"], at


@kinds
def test_what_rules_walk_over_is_bounded(kind: type[Resource]) -> None:
    """API servers refuse rules of unknown cost: lists need maxItems, maps maxProperties, text maxLength."""
    for at, node in nodes(open_api_schema(kind)):
        rules = " ".join(validation["rule"] for validation in node.get("x-kubernetes-validations", []))
        for name, inner in node.get("properties", {}).items():
            if f"self.{name}.all" in rules or f"self.{name} ==" in rules:
                assert inner["type"] != "array" or "maxItems" in inner, f"{at}.{name}"
                assert inner["type"] != "object" or "maxProperties" in inner, f"{at}.{name}"
            if f"self.{name}.matches" in rules:
                assert "maxLength" in inner, f"{at}.{name}"


@kinds
def test_status_is_a_subresource_without_defaults(kind: type[Resource]) -> None:
    [version] = definition(kind)["spec"]["versions"]
    assert {} == version["subresources"]["status"]
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert [] == [at for at, node in nodes(status) if "default" in node]


def test_applications_scale() -> None:
    [version] = definition(ArksApplication)["spec"]["versions"]
    assert {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    } == version["subresources"]["scale"]


def test_kubectl_get_shows_the_columns_that_scripts_know_first_then_what_works_and_why() -> None:
    shown = {
        kind.__name__: [
            column["name"].upper() + ("*" if column.get("priority") else "")
            for column in definition(kind)["spec"]["versions"][0]["additionalPrinterColumns"]
        ]
        for kind in CUSTOM_KINDS
    }
    assert {
        "ArksModel": ["AGE", "MODEL", "PHASE", "PATH*", "READY*", "REASON*", "WHY*"],
        "ArksApplication": ["PHASE", "REPLICAS", "READY", "AGE", "MODEL*", "RUNTIME*", "DRIVER*", "REASON*", "WHY*"],
        "ArksDisaggregatedApplication": [
            "PHASE",
            "ROUTER READY",
            "PREFILL READY",
            "DECODE READY",
            "AGE",
            "MODEL*",
            "READY*",
            "REASON*",
            "WHY*",
        ],
        "ArksAutoscaler": ["AGE", "APPLICATION", "REPLICAS", "WANTED", "REASON", "READY", "STAGE*", "MODE*", "WHY*"],
        "ArksEndpoint": ["AGE", "DEFAULT WEIGHT", "READY", "REPLICAS", "WEIGHTS*", "MODEL*", "REASON*", "WHY*"],
        "ArksToken": ["AGE", "READY", "EXPIRES", "REASON*", "WHY*"],
        "ArksQuota": ["AGE", "USED", "LIMIT", "PERIOD", "EXCEEDED*", "READY*", "REASON*"],
    } == shown


@kinds
def test_columns_and_scale_point_at_fields_that_exist(kind: type[Resource]) -> None:
    fields = {at for at, _ in nodes(open_api_schema(kind))}
    paths = [re.sub(r"\[.*?\](?=\.)", "[]", column.json_path) for column in kind.columns]  # filters and indexes
    paths += [kind.scale.spec_replicas, kind.scale.status_replicas, kind.scale.label_selector] if kind.scale else []
    assert [] == [path for path in paths if not path.startswith(".metadata.") and path not in fields]


@kinds
def test_a_definition_is_yaml_without_helm_templates_or_aliases(kind: type[Resource]) -> None:
    text = definition_yaml(kind)
    assert definition(kind) == yaml.safe_load(text)
    assert "{{" not in text
    assert "&id" not in text


def test_an_api_server_never_echoes_a_key() -> None:
    """It quotes a value that breaks a pattern, but not one that breaks a rule."""
    for at, node in nodes(open_api_schema(ArksToken)):
        if at.endswith((".token", ".tokenHash")):
            assert "pattern" not in node, at
            assert node["x-kubernetes-validations"], at


def test_the_chart_keeps_definitions_when_it_is_removed() -> None:
    assert {"keep"} == {definition(kind)["metadata"]["annotations"]["helm.sh/resource-policy"] for kind in CUSTOM_KINDS}


def test_generated_files_are_current() -> None:
    assert [] == stale_files(ROOT, generated_files()), "run python -m tools.generate"


def test_check_finds_files_that_differ_are_missing_or_obsolete(tmp_path: Path) -> None:
    files = generated_files()
    write_files(tmp_path, files, list(files))
    assert 0 == main(["--check", "--root", str(tmp_path)])
    directory = tmp_path / "charts/arks-crds/templates"
    (directory / "arksmodels.yaml").write_text("changed")
    (directory / "arksquotas.yaml").unlink()
    (directory / "arksold.yaml").write_text("left over")
    (tmp_path / "docs/resources.md").unlink()
    assert {"arksmodels.yaml", "arksquotas.yaml", "arksold.yaml", "resources.md"} == {
        PurePosixPath(path).name for path in stale_files(tmp_path, files)
    }
    assert 1 == main(["--check", "--root", str(tmp_path)])
    assert 0 == main(["--root", str(tmp_path)])
    assert 0 == main(["--check", "--root", str(tmp_path)])


def test_links_on_the_page_lead_somewhere() -> None:
    page = reference_page()
    headings = {line.lstrip("# ").lower() for line in page.splitlines() if line.startswith("#")}
    targets = {part.split(")")[0] for part in page.split("](#")[1:]}
    assert set() == targets - headings
