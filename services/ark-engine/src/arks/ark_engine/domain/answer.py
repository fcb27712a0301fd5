"""The events of a generation as one answer."""

from collections.abc import Iterable

from arks.engine.v1.ark_pb2 import Choice, CompleteResponse, Delta, StreamCompleteResponse


def whole(events: Iterable[StreamCompleteResponse], choices: int) -> CompleteResponse:
    answer = CompleteResponse(choices=[Choice(index=index) for index in range(choices)])
    for event in events:
        match event.WhichOneof("event"):
            case "delta":
                _append(answer.choices[event.delta.index], event.delta)
            case "end":
                answer.choices[event.end.index].finish_reason = event.end.finish_reason
            case "finish":
                answer.usage.CopyFrom(event.finish.usage)
                answer.timing.CopyFrom(event.finish.timing)
    return answer


def _append(choice: Choice, delta: Delta) -> None:
    choice.text += delta.text
    choice.reasoning_text += delta.reasoning_text
    choice.logprobs.extend(delta.logprobs)
    for piece in delta.tool_calls:
        while len(choice.tool_calls) <= piece.index:
            choice.tool_calls.add(index=len(choice.tool_calls))
        call = choice.tool_calls[piece.index]
        call.id, call.name = call.id or piece.id, call.name or piece.name
        call.arguments += piece.arguments
