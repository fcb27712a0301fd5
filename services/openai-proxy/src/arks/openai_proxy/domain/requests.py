"""Bodies of OpenAI's API that the proxy understands. Fields that it does not know are ignored, as OpenAI's servers do.

Types are strict: "0.7" is no temperature. A message of a validation error goes to the client. Rules between fields, and
what the proxy refuses, are checked in messages.py and generation.py, whose errors name them; the OpenAPI page has them
from published_rules.py.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from arks.openai_proxy.domain import published_rules as rules

MOST_STOPS = 16
MOST_CHOICES = 16
MOST_MESSAGES = 10_000
MOST_SEED = 9_223_372_036_854_776_000
"""OpenAI's, of either sign: the limit of int64 as a reader with floating-point numbers sees it."""


def _whole(value: Any) -> Any:
    """1.0 as 1: both are integers in JSON Schema, and some languages write all numbers as the first."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class ContentPart(_Body):
    model_config = ConfigDict(json_schema_extra=rules.PART)
    type: str
    text: str | None = None


class FunctionCall(_Body):
    name: str = Field(min_length=1)
    arguments: str = "{}"


class ToolCallBody(_Body):
    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class MessageBody(_Body):
    model_config = ConfigDict(json_schema_extra=rules.MESSAGE)
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCallBody] | None = None
    tool_call_id: str | None = None


class FunctionBody(_Body):
    name: str = Field(min_length=1, max_length=64)
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolBody(_Body):
    type: Literal["function"]
    function: FunctionBody


class NamedFunction(_Body):
    name: str = Field(min_length=1)


class NamedTool(_Body):
    type: Literal["function"]
    function: NamedFunction


class JsonSchema(_Body):
    name: str = ""
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormatBody(_Body):
    model_config = ConfigDict(json_schema_extra=rules.RESPONSE_FORMAT)
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(_Body):
    include_usage: bool = False


class SamplingBody(_Body):
    """What both kinds of completions have."""

    model: str = Field(min_length=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES), WHOLE] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    stop: str | Annotated[list[str], Field(max_length=MOST_STOPS)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1), WHOLE] | None = None
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    logit_bias: dict[str, float] | None = Field(default=None, json_schema_extra=rules.LOGIT_BIAS)
    seed: Annotated[int, Field(ge=-MOST_SEED, le=MOST_SEED), WHOLE] | None = None
    user: str | None = None
    top_k: Annotated[int, Field(ge=0, le=2**31 - 1), WHOLE] | None = Field(
        default=None, description="Not in OpenAI's API; 0: all tokens"
    )
    min_p: float | None = Field(default=None, ge=0, le=1, description="Not in OpenAI's API")
    repetition_penalty: float | None = Field(default=None, gt=0, le=10, description="Not in OpenAI's API; 1: none")


class ChatBody(SamplingBody):
    model_config = ConfigDict(json_schema_extra=rules.CHAT)
    messages: list[MessageBody] = Field(min_length=1, max_length=MOST_MESSAGES)
    max_completion_tokens: Annotated[int, Field(ge=1, le=2**31 - 1), WHOLE] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20), WHOLE] | None = None
    tools: list[ToolBody] | None = Field(default=None, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = Field(
        default=None, description="Needs `tools`; a function that it names must be one of them"
    )
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormatBody | None = None


class TextBody(SamplingBody):
    prompt: str | list[str] | list[int] | list[list[int]] = Field(json_schema_extra=rules.PROMPT)
    logprobs: Annotated[int, Field(ge=0, le=20), WHOLE] | None = None
    echo: bool | None = Field(default=False, json_schema_extra=rules.ECHO)
    suffix: str | None = Field(default=None, json_schema_extra=rules.SUFFIX)
    best_of: Annotated[int, Field(ge=1, le=MOST_CHOICES), WHOLE] | None = Field(
        default=None, description="Must equal `n`"
    )
