"""Answers of each kind of engine through a real Envoy, for some combinations. All of them are in
tests/test_work_and_charge.py.
"""

import asyncio
import json

import pytest

from arks.endpoint_router.testing.dialects import PROMPT, Work, delivered
from arks.endpoint_router.testing.gateway import Gateway
from arks.endpoint_router.testing.scripted import Request, Script, answer, send_events, stream

pytestmark = pytest.mark.real

WORKS = [
    Work("llamacpp", is_chat=True, stream=True, copies=3, prompts=1, tokens=5),
    Work("llamacpp", is_chat=False, stream=False, copies=1, prompts=3, tokens=5),
    Work("llamacpp", is_chat=False, stream=True, copies=3, prompts=3, tokens=2),
    Work("llamacpp", is_chat=True, stream=False, copies=1, prompts=1, tokens=5),
    Work("vllm", is_chat=True, stream=False, copies=3, prompts=1, tokens=5),
    Work("vllm", is_chat=False, stream=True, copies=1, prompts=3, tokens=5),
    Work("sglang", is_chat=False, stream=False, copies=3, prompts=3, tokens=5),
    Work("sglang", is_chat=True, stream=True, copies=1, prompts=1, tokens=5),
]


def script_of(work: Work) -> Script:
    return stream(work.parts()) if work.stream else answer(work.parts()[0])


async def test_every_answer_is_charged(gateway: Gateway) -> None:
    expected = {}
    for work in WORKS:
        gateway.engine.script = script_of(work)
        response = await gateway.post(work.body(max_tokens=work.tokens), path=work.path)
        # The page of llama.cpp has the usage of the first prompt, and the grant reserves fewer tokens.
        is_first_only = work.dialect == "llamacpp" and not work.stream
        prompt = PROMPT if is_first_only else PROMPT * work.prompts
        expected[response.headers["x-request-id"]] = f"e,{prompt},{work.tokens * work.answers}"
    assert expected == {line["request_id"]: line["usage"] for line in await gateway.usage(len(WORKS))}
    answers = [query.headers.get("x-arks-n", "1") for query in gateway.queries()]
    assert [str(work.answers) for work in WORKS] == answers


async def test_a_stream_that_its_client_ends_before_the_usage_is_charged_what_was_delivered(gateway: Gateway) -> None:
    expected = []
    for work in [work for work in WORKS if work.stream and work.dialect != "llamacpp"]:
        parts = work.parts()
        sent = parts[: next(at for at, part in enumerate(parts) if b'"usage":{' in part)]

        async def script(_: Request, writer: asyncio.StreamWriter, sent: list[bytes] = sent) -> None:
            await send_events(writer, sent)
            await asyncio.Event().wait()

        gateway.engine.script = script
        got, headers = b"", {"authorization": "Bearer sk-secret"}
        async with gateway.client.stream("POST", work.path, content=work.body(), headers=headers) as response:
            async for piece in response.aiter_raw():
                got += piece
                if len(got) == len(b"".join(sent)):
                    break
        expected.append(f"d,{delivered(sent)}")
        await gateway.usage(len(expected))
    assert expected == [line["usage"] for line in await gateway.usage(len(expected))]


async def test_zero_is_no_limit(gateway: Gateway) -> None:
    for limits in ({"max_tokens": 0}, {"max_completion_tokens": 0, "max_tokens": 5}, {}):
        await gateway.post(json.dumps({"model": "m", **limits}).encode())
    assert [None] * 3 == [query.headers.get("x-arks-max-tokens") for query in gateway.queries()]
