"""A body of a client as a Generation of the ARK protocol."""

import json
import re

from arks.engine.v1.ark_pb2 import Generation, ResponseFormat, Sampling
from arks.openai_proxy.domain.errors import ApiError
from arks.openai_proxy.domain.messages import chat
from arks.openai_proxy.domain.requests import ChatBody, ResponseFormatBody, SamplingBody, TextBody

_PLAIN = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
)
"""Fields of the same name and meaning on both sides."""
_TOKEN_ID = re.compile(r"[0-9]{1,9}")


def from_chat(body: ChatBody, id_: str) -> Generation:
    """Raises ApiError: the body is well-formed, but this API or the ARK protocol does not allow it."""
    if body.top_logprobs and not body.logprobs:
        raise ApiError(400, "invalid_value", "top_logprobs needs logprobs: true", param="top_logprobs")
    generation = _shared(body, id_, body.max_completion_tokens or body.max_tokens)
    generation.chat.CopyFrom(chat(body))
    generation.logprobs = bool(body.logprobs)
    generation.top_logprobs = body.top_logprobs or 0
    if body.response_format is not None:
        generation.response_format.CopyFrom(_response_format(body.response_format))
    return generation


def from_text(body: TextBody, id_: str) -> Generation:
    """Raises ApiError: the body is well-formed, but this API or the ARK protocol does not allow it."""
    for name in ("echo", "suffix"):
        if getattr(body, name):
            raise ApiError(400, "unsupported_parameter", f"{name} is not supported", param=name)
    if body.best_of is not None and body.best_of != (body.n or 1):
        raise ApiError(400, "unsupported_parameter", "best_of must equal n", param="best_of")
    generation = _shared(body, id_, body.max_tokens)
    generation.text = _prompt(body)
    generation.logprobs = body.logprobs is not None
    generation.top_logprobs = body.logprobs or 0
    return generation


def _prompt(body: TextBody) -> str:
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    if len(prompts) != 1 or not isinstance(prompts[0], str):
        raise ApiError(400, "unsupported_parameter", "prompt must be one text; send a request for each", param="prompt")
    return prompts[0]


def _shared(body: SamplingBody, id_: str, max_tokens: int | None) -> Generation:
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    return Generation(
        id=id_,
        model=body.model,
        sampling=_sampling(body),
        max_tokens=max_tokens or 0,
        stop=[text for text in stop if text],
        choices=body.n or 1,
        user=body.user or "",
    )


def _sampling(body: SamplingBody) -> Sampling:
    given = {name: value for name in _PLAIN if (value := getattr(body, name)) is not None}
    if body.seed is not None:
        given["seed"] = min(max(body.seed, -(2**63)), 2**63 - 1)
    return Sampling(**given, logit_bias=_logit_bias(body.logit_bias or {}))


def _logit_bias(biases: dict[str, float]) -> dict[int, float]:
    if not all(_TOKEN_ID.fullmatch(token) for token in biases):
        raise ApiError(400, "invalid_value", "logit_bias: keys must be token ids", param="logit_bias")
    if not all(-100 <= bias <= 100 for bias in biases.values()):
        raise ApiError(400, "invalid_value", "logit_bias: values must be from -100 to 100", param="logit_bias")
    return {int(token): bias for token, bias in biases.items()}


def _response_format(body: ResponseFormatBody) -> ResponseFormat:
    if body.type == "text":
        return ResponseFormat()
    if body.type == "json_object":
        return ResponseFormat(type=ResponseFormat.TYPE_JSON_OBJECT)
    if body.json_schema is None:
        message = "response_format: type json_schema needs json_schema"
        raise ApiError(400, "invalid_value", message, param="response_format.json_schema")
    schema = json.dumps(body.json_schema.schema_, ensure_ascii=False)
    return ResponseFormat(type=ResponseFormat.TYPE_JSON_SCHEMA, schema_json=schema)
