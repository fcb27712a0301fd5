"""A Generation as bodies of llama.cpp's HTTP API.

Every generation is two requests on the same slot: one that only processes the prompt, then one that generates. The
second computes the prompt's last token again, alone. So the first token comes from the same computation whether the
KV state was made here or by a prefiller, and the same seed gives the same text.
"""

import json
from typing import Any

from arks.ark_engine.domain.failures import Failed, unknown_model
from arks.engine.v1.ark_pb2 import Generation, Message, ResponseFormat, Sampling, Tool

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
_PLAIN = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repetition_penalty": "repeat_penalty",
}


def check(generation: Generation, model: str) -> None:
    """Raises Failed: the protocol or this engine does not allow the generation."""
    if generation.model != model:
        raise unknown_model(generation.model)
    if generation.WhichOneof("prompt") is None:
        raise Failed("INVALID_ARGUMENT", "the generation has no prompt", param="messages")
    if generation.HasField("chat") and not generation.chat.messages:
        raise Failed("INVALID_ARGUMENT", "the conversation has no message", param="messages")
    if generation.chat.tool_choice.startswith("{"):  # llama.cpp would read it as "auto" in silence
        message = "this engine cannot be made to call a named tool"
        raise Failed("UNIMPLEMENTED", message, code="unsupported_parameter", param="tool_choice")


def path(generation: Generation) -> str:
    return CHAT if generation.HasField("chat") else TEXT


def prefill_body(generation: Generation, slot: int) -> dict[str, Any]:
    """Processes the prompt and generates nothing."""
    return _prompt(generation) | {"id_slot": slot, "cache_prompt": True, "max_tokens": 0, "n_predict": 0}


def decode_body(generation: Generation, slot: int, choice: int) -> dict[str, Any]:
    """Generates; the prompt is in the slot. Choices differ by their seed."""
    body = _prompt(generation) | _sampling(generation.sampling, choice) | {"id_slot": slot, "cache_prompt": True}
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    if generation.max_tokens:
        body["max_tokens"] = generation.max_tokens
    if generation.stop:
        body["stop"] = list(generation.stop)
    if generation.logprobs and generation.HasField("chat"):
        body |= {"logprobs": True, "top_logprobs": generation.top_logprobs}
    elif generation.logprobs:
        body["logprobs"] = max(1, generation.top_logprobs)  # 0 turns them off
    return body


def _prompt(generation: Generation) -> dict[str, Any]:
    """What shapes the prompt."""
    if not generation.HasField("chat"):
        return {"prompt": generation.text} | _format(generation.response_format)
    chat = generation.chat
    body: dict[str, Any] = {"messages": [_message(message) for message in chat.messages]}
    if chat.tools:
        body["tools"] = [_tool(tool) for tool in chat.tools]
    if chat.tool_choice:
        body["tool_choice"] = chat.tool_choice
    if chat.HasField("parallel_tool_calls"):
        body["parallel_tool_calls"] = chat.parallel_tool_calls
    return body | _format(generation.response_format)


def _message(message: Message) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role}
    body["content"] = message.content if message.HasField("content") else None
    if message.name:
        body["name"] = message.name
    if message.tool_call_id:
        body["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return body


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": _json(tool.parameters_json or "{}", "tools")}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _json(text: str, param: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failed("INVALID_ARGUMENT", f"{param} has invalid JSON: {error}", param=param) from error


def _format(wanted: ResponseFormat) -> dict[str, Any]:
    match wanted.type:
        case ResponseFormat.TYPE_JSON_OBJECT:
            return {"response_format": {"type": "json_object"}}
        case ResponseFormat.TYPE_JSON_SCHEMA:
            schema = _json(wanted.schema_json, "response_format")
            return {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    return {}


def _sampling(sampling: Sampling, choice: int) -> dict[str, Any]:
    body: dict[str, Any] = {
        theirs: getattr(sampling, ours) for ours, theirs in _PLAIN.items() if sampling.HasField(ours)
    }
    if sampling.HasField("seed"):
        body["seed"] = (sampling.seed + choice) % 2**32  # llama.cpp's seeds have 32 bits
    if sampling.logit_bias:
        body["logit_bias"] = [[token, bias] for token, bias in sorted(sampling.logit_bias.items())]
    return body
