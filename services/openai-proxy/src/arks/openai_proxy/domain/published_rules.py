"""Rules of bodies that types do not express, as JSON Schema for the OpenAPI page.

messages.py and generation.py check them. Two rules have no form in JSON Schema, so descriptions have them: `best_of`
equals `n`, and a function that `tool_choice` names is one of `tools`. schemathesis compares this page with the proxy.
"""

from pydantic.config import JsonDict

_GIVEN: JsonDict = {"type": ["string", "array"]}

PART: JsonDict = {
    "allOf": [{"properties": {"type": {"const": "text"}, "text": {"type": "string"}}, "required": ["text"]}]
}
MESSAGE: JsonDict = {
    "anyOf": [
        {
            "properties": {"role": {"enum": ["system", "developer", "user", "assistant"]}, "content": _GIVEN},
            "required": ["content"],
        },
        {
            "properties": {
                "role": {"const": "tool"},
                "content": _GIVEN,
                "tool_call_id": {"type": "string", "minLength": 1},
            },
            "required": ["content", "tool_call_id"],
        },
        {
            "properties": {"role": {"const": "assistant"}, "tool_calls": {"type": "array", "minItems": 1}},
            "required": ["tool_calls"],
        },
    ]
}
RESPONSE_FORMAT: JsonDict = {
    "anyOf": [
        {"properties": {"type": {"enum": ["text", "json_object"]}}},
        {
            "properties": {"type": {"const": "json_schema"}, "json_schema": {"type": "object"}},
            "required": ["json_schema"],
        },
    ]
}
CHAT: JsonDict = {
    "allOf": [
        {
            "anyOf": [
                {"properties": {"top_logprobs": {"enum": [0, None]}}},
                {"properties": {"logprobs": {"const": True}}, "required": ["logprobs"]},
            ]
        },
        {
            "anyOf": [
                {"properties": {"tool_choice": {"type": "null"}}},
                {"properties": {"tools": {"type": "array", "minItems": 1}}, "required": ["tools"]},
            ]
        },
    ]
}
LOGIT_BIAS: JsonDict = {
    "propertyNames": {"pattern": "^[0-9]{1,9}$"},
    "additionalProperties": {"minimum": -100, "maximum": 100},
}
PROMPT: JsonDict = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1}]
}
ECHO: JsonDict = {"enum": [False, None]}
SUFFIX: JsonDict = {"maxLength": 0}
