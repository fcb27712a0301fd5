"""What the native filter finds in a request that not every engine keeps."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.contracts.uses import USES
from arks.endpoint_router.testing.filter import read
from arks.endpoint_router.testing.native import call

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def uses(**fields: Any) -> set[str]:
    request = read(json.dumps({"model": "m", **fields}).encode())
    assert request is not None
    return set(request.get("uses", b"").decode().split(",")) - {""}


def in_schema(schema: Any, *, strict: Any = True) -> set[str]:
    """Return the uses in a schema that is deep in another one."""
    outer = {"$defs": {"d": {"anyOf": [{"type": "array", "items": schema}, {"type": "null"}]}}, "type": "object"}
    return uses(response_format={"type": "json_schema", "json_schema": {"strict": strict, "schema": outer}})


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": '"functions": 1'}]},
        {"tools": TOOLS, "tool_choice": "none"},
        {"tools": []},
        {"tools": None, "tool_choice": "auto"},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": None}},
        {"response_format": "text"},
        {"functions": None, "modalities": ["text"], "echo": False, "suffix": "", "dimensions": None},
        {"store": False, "service_tier": "auto", "logprobs": True},
        {"store": None, "service_tier": "default", "logprobs": None},
        {"prompt": "a", "response_format": {"type": "text"}},
        {"prompt": "a", "response_format": None},
    ],
)
def test_an_ordinary_request_has_none(fields: dict[str, Any]) -> None:
    assert set() == uses(**fields)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"tools": TOOLS}, "tools"),
        ({"tools": TOOLS, "tool_choice": "auto"}, "tools"),
        ({"tools": [1, {"function": {"strict": True}}, {"strict": True}]}, "tools"),
        ({"tools": TOOLS, "tool_choice": "required"}, "tools,tool_choice.required"),
        (
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "f"}}},
            "tools,tool_choice.name",
        ),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": "auto"}, "functions"),
        ({"modalities": ["text", "audio"]}, "audio"),
        ({"web_search_options": {}}, "web_search"),
        ({"echo": True}, "echo"),
        ({"suffix": " end"}, "suffix"),
        ({"dimensions": 8}, "dimensions"),
        ({"store": True}, "store"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"prompt": "a", "logprobs": 0}, "completions.logprobs"),
        ({"prompt": "a", "logprobs": 5}, "completions.logprobs"),
        ({"prompt": "a", "response_format": {"type": "json_object"}}, "completions.response_format"),
        ({"response_format": {"json_schema": {}}, "prompt": ["a"]}, "completions.response_format"),
    ],
)
def test_each_parameter_has_its_use(fields: dict[str, Any], name: str) -> None:
    assert set(name.split(",")) == uses(**fields)


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ({"type": "string", "pattern": r"^\d{4}$"}, "schema.pattern"),
        ({"type": "string", "pattern": r"^[\w-]+$"}, "schema.pattern"),
        ({"type": "string", "pattern": "[0-9]"}, "schema.pattern"),
        ({"type": "string", "pattern": "^(?=a)b$"}, "schema.pattern"),
        ({"type": "string", "pattern": "^\u00e9\n$"}, "schema.pattern"),
        ({"type": "string", "format": "email"}, "schema.format"),
        ({"type": "string", "format": "date", "maxLength": 3}, "schema.length"),
        ({"type": "string", "pattern": "^a+$", "minLength": 3}, "schema.length"),
        ({"type": "number", "minimum": 0}, "schema.number"),
        ({"type": ["integer", "null"], "exclusiveMaximum": 0}, "schema.number"),
        ({"type": "integer", "multipleOf": 7}, "schema.multipleOf"),
        ({"type": "array", "uniqueItems": True}, "schema.uniqueItems"),
        ({"type": "object", "minProperties": 1}, "schema.minProperties"),
        ({"type": "string", "not": {"const": "a"}}, "schema.not"),
        ({"if": {"const": 1}, "then": {"const": 1}}, "schema.if"),
    ],
)
def test_keywords_of_a_strict_schema_have_theirs(schema: dict[str, Any], name: str) -> None:
    assert {name} == in_schema(schema)
    assert set() == in_schema(schema, strict=False)
    assert set() == in_schema({"type": "object", "const": schema, "default": schema})


@pytest.mark.parametrize("strict", [True, False, None])
def test_keywords_of_a_tool_s_strict_schema_have_theirs(strict: bool | None) -> None:
    parameters = {"type": "object", "properties": {"year": {"type": "string", "pattern": r"^\d{4}$"}}}
    tool = {"type": "function", "function": {"parameters": parameters, "name": "f", "strict": strict}}
    assert ({"tools", "schema.pattern"} if strict else {"tools"}) == uses(tools=[*TOOLS, tool])


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": r"^(?:[a-z]{2}|x\.y\/z)+$"},
        {"type": "string", "format": "uuid"},
        {"type": "string", "maxLength": 3},
        {"type": "integer", "minimum": 0, "maximum": 9},
        {"type": "array", "uniqueItems": False, "maxItems": 3},
        {"type": "object", "properties": {"pattern": {"type": "string"}, "not": {"const": 1}, "format": {}}},
    ],
)
def test_what_grammars_keep_has_none(schema: dict[str, Any]) -> None:
    assert set() == in_schema(schema)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "pattern", "not", "items", "properties", "anyOf", "format"]), inner)
    ),
    max_leaves=20,
)


@given(JSON)
def test_every_use_is_one_that_profiles_can_name(schema: Any) -> None:
    assert in_schema(schema) <= USES.keys()


def test_an_engine_keeps_what_it_does_not_list() -> None:
    unsupported = b"echo,schema.pattern"
    assert [[b"1"], [None], [None], [b"1"]] == [
        call("keeps", uses, unsupported) for uses in (None, b"echo", b"a,schema.pattern", b"schema.patterns")
    ]
    assert [b"1"] == call("keeps", b"echo", None)
