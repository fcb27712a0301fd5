"""The conversation of a chat body, as the engine gets it."""

import json

from arks.engine.v1.ark_pb2 import Chat, Message, Tool, ToolCall
from arks.openai_proxy.domain.errors import ApiError
from arks.openai_proxy.domain.requests import ChatBody, ContentPart, MessageBody, NamedTool, ToolBody


def chat(body: ChatBody) -> Chat:
    """Raises ApiError for content that is no text, and for a conversation that the API does not allow."""
    found = Chat(
        messages=[_message(message, f"messages[{number}]") for number, message in enumerate(body.messages)],
        tools=[_tool(tool) for tool in body.tools or ()],
        tool_choice=_tool_choice(body),
    )
    if body.parallel_tool_calls is not None:
        found.parallel_tool_calls = body.parallel_tool_calls
    return found


def _tool_choice(body: ChatBody) -> str:
    if body.tool_choice is None:
        return ""
    if not body.tools:
        raise ApiError(400, "invalid_value", "tool_choice needs tools", param="tool_choice")
    if isinstance(body.tool_choice, NamedTool):
        named = body.tool_choice.function.name
        if named not in {tool.function.name for tool in body.tools}:
            raise ApiError(400, "invalid_value", f"tool_choice: no tool has the name {named!r}", param="tool_choice")
        return json.dumps({"type": "function", "function": {"name": named}})
    return body.tool_choice


def _message(body: MessageBody, where: str) -> Message:
    calls = [
        ToolCall(index=index, id=call.id, name=call.function.name, arguments=call.function.arguments)
        for index, call in enumerate(body.tool_calls or ())
    ]
    message = Message(role=body.role, name=body.name or "", tool_calls=calls, tool_call_id=body.tool_call_id or "")
    if body.content is not None:
        message.content = body.content if isinstance(body.content, str) else _text(body.content, f"{where}.content")
    elif body.role != "assistant" or not calls:
        raise ApiError(400, "missing_content", f"{where}.content is missing", param=f"{where}.content")
    if body.role == "tool" and not body.tool_call_id:
        raise ApiError(400, "missing_tool_call_id", f"{where}.tool_call_id is missing", param=f"{where}.tool_call_id")
    return message


def _text(parts: list[ContentPart], where: str) -> str:
    """The texts of the parts, one after the other."""
    for number, part in enumerate(parts):
        if part.type != "text":
            param = f"{where}[{number}]"
            raise ApiError(
                400, "unsupported_content", f"{param}: the engine reads text only, not {part.type}", param=param
            )
        if part.text is None:
            raise ApiError(
                400, "missing_content", f"{where}[{number}].text is missing", param=f"{where}[{number}].text"
            )
    return "".join(part.text or "" for part in parts)


def _tool(body: ToolBody) -> Tool:
    function = body.function
    parameters = "" if function.parameters is None else json.dumps(function.parameters, ensure_ascii=False)
    return Tool(name=function.name, description=function.description or "", parameters_json=parameters)
