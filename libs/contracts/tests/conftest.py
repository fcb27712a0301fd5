"""What the tests share: the sample manifests, and a stand-in for the checks that an API server makes from a CRD."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cel import cel  # the extension itself: another package brings an empty module of the same name

from arks.contracts.resources import KINDS, Resource, Secret
from tools.generate.crds import open_api_schema

SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.yaml"))


@pytest.fixture(params=SAMPLES, ids=lambda path: path.stem)
def sample(request: pytest.FixtureRequest) -> tuple[str, str]:
    """File name and text of each sample in turn."""
    return request.param.name, request.param.read_text()


@pytest.fixture
def read_manifests() -> Callable[[str], list[dict[str, Any]]]:
    """A function from a manifest's text to its objects, as plain data."""
    return _read_manifests


@pytest.fixture
def api_server() -> Callable[[str], list[str]]:
    """A function from a manifest's text to the errors of an API server with our CRDs."""
    return lambda text: [objection for item in _read_manifests(text) for objection in _objections(item)]


@pytest.fixture
def accepts() -> Callable[[dict[str, Any]], bool]:
    """Whether an API server with our CRDs would store an object; it drops unknown fields."""
    return lambda item: all(objection.endswith(": unknown field") for objection in _objections(item))


def _read_manifests(text: str) -> list[dict[str, Any]]:
    return [
        item
        for document in yaml.load_all(text, Loader=_TextTimes)
        for item in (document["items"] if document["kind"] == "List" else [document])
    ]


class _TextTimes(yaml.SafeLoader):
    """Times stay text, as they do on their way to an API server."""


_TextTimes.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith("timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _objections(item: dict[str, Any]) -> Iterator[str]:
    kind = KINDS[item["kind"]]
    if kind is Secret:
        return
    schema = _schema(kind)
    errors = [
        f"{error.json_path}: {error.message}" for error in jsonschema.Draft202012Validator(schema).iter_errors(item)
    ]
    yield from errors or _broken_rules(schema, item, "$")  # rules may count on the types
    yield from _unknown_fields(schema, item, "$")


@cache
def _schema(kind: type[Resource]) -> dict[str, Any]:
    return open_api_schema(kind)


def _broken_rules(schema: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    for validation in schema.get("x-kubernetes-validations", []):
        try:
            holds = cel.evaluate(validation["rule"], {"self": value})
        except KeyError as missing:  # an absent field, which an API server reports too
            holds = f"no such key: {missing}"
        if holds is not True:
            yield f"{at}: {validation['message']}"
    for name, inner, inner_value in _inside(schema, value):
        yield from _broken_rules(inner, inner_value, f"{at}.{name}")


def _unknown_fields(schema: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(value, dict) and not open_ended and at != "$.metadata":
        yield from (f"{at}.{name}: unknown field" for name in value if name not in schema.get("properties", {}))
    for name, inner, inner_value in _inside(schema, value):
        yield from _unknown_fields(inner, inner_value, f"{at}.{name}")


def _inside(schema: dict[str, Any], value: Any) -> Iterator[tuple[str, dict[str, Any], Any]]:
    if isinstance(value, dict):
        for name, inner in schema.get("properties", {}).items():
            if name in value:
                yield name, inner, value[name]
    if isinstance(value, list) and "items" in schema:
        for position, item in enumerate(value):
            yield str(position), schema["items"], item
