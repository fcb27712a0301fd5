"""What requests may want that not every engine keeps: the gateway finds it, a runtime profile lists what its engines
drop, app-deployer reads from each engine what only its model decides, and token-quota refuses a request that wants it.
"""

from typing import Final

_SCHEMA: Final = "response_format"
HANG_UP: Final = "json.hang_up"
"""That the work for an answer in JSON ends when its client leaves. Every such request wants it, so none is refused: the
gateway makes a stream of it where all engines of an endpoint keep it for streams only.
"""

TOOLS: Final = "tools"
REQUIRED_CALL: Final = "tool_choice.required"

USES: Final[dict[str, tuple[str, str]]] = {
    HANG_UP: ("stream", "an end of the work when the client of an answer in JSON leaves"),
    "tool_choice.name": ("tool_choice", "a named tool"),
    REQUIRED_CALL: ("tool_choice", '`tool_choice: "required"`'),
    TOOLS: ("tools", "`tools`: the chat template of the model has none"),
    "functions": ("functions", "`functions`: use `tools`"),
    "audio": ("modalities", "answers as audio"),
    "web_search": ("web_search_options", "a search of the web"),
    "echo": ("echo", "`echo`"),
    "suffix": ("suffix", "`suffix`"),
    "dimensions": ("dimensions", "`dimensions`"),
    "store": ("store", "`store`: no answer is stored"),
    "service_tier": ("service_tier", "a `service_tier` other than auto and default"),
    "completions.logprobs": ("logprobs", "`logprobs` of /v1/completions"),
    "completions.response_format": (_SCHEMA, "a `response_format` of /v1/completions"),
    "schema.pattern": (_SCHEMA, "a `pattern` with escapes or assertions, or without ^ and $"),
    "schema.format": (_SCHEMA, "a `format` other than date, time, date-time and uuid"),
    "schema.length": (_SCHEMA, "a length beside `pattern` or `format`"),
    "schema.number": (_SCHEMA, "bounds of a number that is no integer"),
    **{
        f"schema.{keyword}": (_SCHEMA, f"`{keyword}`")
        for keyword in (
            *("multipleOf", "uniqueItems", "minProperties", "maxProperties", "patternProperties", "propertyNames"),
            *("contains", "not", "if", "dependentRequired", "dependentSchemas"),
        )
    },
}
"""Name -> the request's parameter, and what it is for people. `schema.*` are of schemas with `strict: true`, of the
answer or of a tool.
"""
