"""llama.cpp looks for clients that have left only in a second without a result for any request. So the gateway makes a
stream of a request for JSON, and joins it: the answer is llama.cpp's own, and the work ends with the client.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from arks.app_deployer.testing.engine_server import TOOLS_TEMPLATE, engine_server
from arks.endpoint_router.adapters.envoy import Backend
from arks.endpoint_router.testing.gateway import Gateway, Gateways
from arks.kit.testing.wait import eventually

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": 'Say "hello" and write an emoji.'}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]},
    },
}
CALL = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
CALLS = [
    {"role": "user", "content": "Weather in Oslo?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c", "content": "rain"},
]
"""The small model calls a tool where it has done so three times before."""
SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer"}, "name": {"enum": ["Ann", "Bob"]}},
    "required": ["age", "name"],
    "additionalProperties": False,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": (CHAT, {"messages": HELLO}),
    "one token": (COMPLETIONS, {"prompt": "Once upon a time", "max_tokens": 1}),
    "stream: false": (CHAT, {"stream": False, "stream_options": None, "messages": HELLO}),
    "several answers": (CHAT, {"messages": HELLO, "n": 2}),
    "tools": (CHAT, {"messages": CALLS * 3 + CALLS[:1], "tools": [WEATHER], "max_tokens": 40}),
    "tools that are not called": (CHAT, {"messages": HELLO, "tools": [WEATHER], "tool_choice": "none"}),
    "logprobs": (CHAT, {"messages": HELLO, "logprobs": True, "top_logprobs": 2}),
    "schema": (
        CHAT,
        {
            "messages": HELLO,
            "max_tokens": 60,
            "response_format": {"type": "json_schema", "json_schema": {"name": "p", "strict": True, "schema": SCHEMA}},
        },
    ),
    "stop": (COMPLETIONS, {"prompt": "One, two, three, four,", "stop": ["six", "seven"]}),
    "stop at once": (COMPLETIONS, {"prompt": "One, two, three, four,", "stop": [" "]}),
    "completion": (COMPLETIONS, {"prompt": "Once upon a time"}),
    "completion with logprobs": (COMPLETIONS, {"prompt": "Once upon a time", "n_probs": 2}),
    "prompts": (COMPLETIONS, {"prompt": ["Once upon a time", "The cat"], "n": 2}),
    "too long": (CHAT, {"messages": [{"role": "user", "content": "word " * 3000}]}),
    "not a schema": (
        CHAT,
        {"messages": HELLO, "response_format": {"type": "json_schema", "json_schema": {"schema": 1}}},
    ),
}


@dataclass
class Both:
    """The engine's own port, and a gateway that joins its streams beside one that does not."""

    engine: httpx.AsyncClient
    joining: Gateway
    plain: Gateway

    async def busy(self) -> bool:
        return any(slot["is_processing"] for slot in (await self.engine.get("/slots")).json())

    async def made(self) -> int:
        """Return the tokens of all answers so far."""
        lines = (await self.engine.get("/metrics")).text.splitlines()
        (line,) = [line for line in lines if line.startswith("llamacpp:tokens_predicted_total ")]
        return int(float(line.split()[1]))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Both]:
    directory = tmp_path_factory.mktemp("joined")
    template = directory / "template.jinja"
    template.write_text(TOOLS_TEMPLATE)
    arguments = ("--chat-template-file", str(template))
    async with engine_server(directory, served_model="m", arguments=arguments) as server, AsyncExitStack() as stack:
        url = f"http://127.0.0.1:{server.port}"
        engine = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60))

        async def healthy() -> bool:
            return (await engine.get("/health")).status_code == 200

        await eventually(healthy, what="the model", within_seconds=60)

        async def gateway(*, joins_streams: bool) -> Gateway:
            own = directory / str(joins_streams)
            own.mkdir()
            gateways = Gateways(own)
            stack.push_async_callback(gateways.stop)
            return await gateways.start(0, joins_streams=joins_streams, backends=[Backend("127.0.0.1", server.port)])

        yield Both(engine, await gateway(joins_streams=True), await gateway(joins_streams=False))


def without_chance(value: Any) -> Any:
    """Return an answer without what differs between two of the same request, and without usage."""
    if isinstance(value, list):
        return [without_chance(item) for item in value]
    if not isinstance(value, dict):
        return value
    by_chance = {"id", "created", "timings", "usage"}
    return {key: without_chance(item) for key, item in value.items() if key not in by_chance}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", CASES)
async def test_a_joined_answer_is_the_engine_s_own(both: Both, case: str) -> None:
    path, request = CASES[case]
    content = json.dumps({"model": "m", "temperature": 0, "seed": 1, "max_tokens": 12, **request}).encode()
    own, joined = await both.plain.post(content, path), await both.joining.post(content, path)
    assert own.status_code == joined.status_code
    assert own.headers["content-type"].partition(";")[0] == joined.headers["content-type"]
    assert without_chance(own.json()) == without_chance(joined.json())
    assert (case == "tools") == ("tool_calls" in own.text)
    if own.status_code == 200 and len(own.json()["choices"]) == 1:
        counts = "prompt_tokens", "completion_tokens", "total_tokens"
        assert [own.json()["usage"][key] for key in counts] == [joined.json()["usage"][key] for key in counts]
    elif own.status_code == 200:  # the engine's is that of the first answer
        assert (
            len(own.json()["choices"]) * own.json()["usage"]["completion_tokens"]
            == (joined.json()["usage"]["completion_tokens"])
        )


@pytest.mark.asyncio(loop_scope="module")
async def test_the_work_ends_with_the_client_of_an_answer_in_json_and_what_was_made_is_charged(both: Both) -> None:
    endless = {"model": "m", "prompt": "Once upon a time", "max_tokens": 1500, "ignore_eos": True}
    before = await both.made()
    request = asyncio.create_task(both.joining.post(json.dumps(endless).encode(), COMPLETIONS))

    async def has_begun() -> bool:
        """Querying the slots is what keeps llama.cpp from looking for its clients."""
        slots = (await both.engine.get("/slots")).json()
        return any(token["n_decoded"] > 20 for slot in slots for token in slot.get("next_token", []))

    await eventually(has_begun, what="an answer that has begun")
    request.cancel()
    await eventually(lambda: _idle(both), within_seconds=20, what="the end of the work")
    made = await both.made() - before

    async def line() -> str | None:
        return next((line["usage"] for line in await both.joining.usage(0) if line["status"] == "0"), None)

    await eventually(line, what="the line of the usage log")
    kind, charged = str(await line()).split(",")
    assert "d" == kind
    assert 20 < int(charged) <= made <= int(charged) + 64
    assert made < 1500


async def _idle(both: Both) -> bool:
    return not await both.busy()
