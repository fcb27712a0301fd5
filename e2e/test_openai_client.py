"""An unmodified OpenAI client works with the gateway."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import openai
import pytest
import pytest_asyncio

from arks.kit.testing.manifests import quota, token
from arks.kit.testing.wait import eventually
from arks.local.testing.harness import ArksHarness
from e2e.support.clients import ClientOf, clients

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
MODEL = "smollm2"
HELLO: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]


@pytest_asyncio.fixture
async def as_user(arks_up: ArksHarness) -> AsyncIterator[ClientOf]:
    """Key -> a client with that key."""
    async with clients(arks_up.url, timeout_seconds=120) as client_of:
        yield client_of


async def test_a_key_lists_the_models_that_it_may_use(client: openai.AsyncOpenAI) -> None:
    assert [MODEL] == [model.id async for model in client.models.list()]
    assert MODEL == (await client.models.retrieve(MODEL)).id


async def test_a_chat_completion_has_content_and_usage(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=8)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 8
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_tools_are_refused_because_the_template_of_the_model_has_none(client: openai.AsyncOpenAI) -> None:
    tool = openai.types.chat.ChatCompletionFunctionToolParam(type="function", function={"name": "weather"})

    async def refused() -> bool:
        """Tools are allowed until the engine has answered."""
        try:
            await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=1, tools=[tool])
        except openai.BadRequestError as error:
            return ("unsupported_parameter", "tools") == (error.code, error.param)
        return False

    await eventually(refused, what="tools are refused", within_seconds=10)
    answer = await client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=1, tools=[tool], tool_choice="none"
    )
    assert 1 == len(answer.choices)


async def test_a_stream_has_a_usage_chunk_only_if_requested(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=8, stream=True)
    plain = [chunk async for chunk in stream]
    assert all(chunk.choices and chunk.usage is None for chunk in plain)
    requested = await client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=8, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in requested]
    assert [[]] == [chunk.choices for chunk in chunks if chunk.usage is not None]
    declined = await client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=8, stream=True, stream_options={"include_usage": False}
    )
    assert all(chunk.usage is None for chunk in [chunk async for chunk in declined])


async def test_completions_work_with_and_without_streaming(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=8)
    assert answer.choices[0].text
    stream = await client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=8, stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream if chunk.choices])


async def test_a_wrong_key_is_an_authentication_error(arks_up: ArksHarness, as_user: ClientOf) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        await as_user("sk-wrong").chat.completions.create(model=MODEL, messages=HELLO)
    assert "invalid_api_key" == caught.value.code
    assert "sk-wrong" not in str(caught.value)
    with pytest.raises(openai.AuthenticationError):
        await as_user("sk-wrong").models.list()


async def test_a_model_of_other_keys_is_denied_and_an_unknown_model_is_not_found(
    arks_up: ArksHarness, as_user: ClientOf
) -> None:
    arks_up.apply(token("outsider", "sk-outsider-000000", "something-else"))
    outsider = as_user("sk-outsider-000000")

    async def known() -> bool:
        try:
            await outsider.models.list()
        except openai.AuthenticationError:
            return False
        return True

    await eventually(known, what="the key is known")
    with pytest.raises(openai.PermissionDeniedError):
        await outsider.chat.completions.create(model=MODEL, messages=HELLO)
    with pytest.raises(openai.NotFoundError) as caught:
        await as_user(arks_up.key).chat.completions.create(model="no-such-model", messages=HELLO)
    assert "model_not_found" == caught.value.code


async def test_a_request_over_its_limit_is_a_rate_limit_error_with_retry_after(
    arks_up: ArksHarness, as_user: ClientOf
) -> None:
    arks_up.apply_token(token("limited", "sk-limited-000000", MODEL, rpm=1))
    user = as_user("sk-limited-000000")
    await user.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=1)
    with pytest.raises(openai.RateLimitError) as caught:
        for _ in range(2):  # the minute may turn between two requests, not between three
            await user.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=1)
    assert 0 <= int(caught.value.response.headers["retry-after"]) <= 60
    assert "1" == caught.value.response.headers["x-ratelimit-limit-requests"]


async def test_a_spent_budget_is_a_rate_limit_error_that_names_the_budget(
    arks_up: ArksHarness, as_user: ClientOf
) -> None:
    arks_up.apply_token(quota("tiny", total=40), token("spender", "sk-spender-000000", MODEL, quota="tiny"))
    user = as_user("sk-spender-000000")
    with pytest.raises(openai.RateLimitError) as caught:
        for _ in range(10):
            await user.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=4)
    assert "insufficient_quota" == caught.value.code
    assert "tiny" in caught.value.message


@pytest.mark.parametrize(
    "extra", [{"max_tokens": -1}, {"n": "two"}, {"stream": "yes"}], ids=["negative max_tokens", "n text", "stream text"]
)
async def test_a_wrong_type_is_a_bad_request_that_names_the_field(
    client: openai.AsyncOpenAI, extra: dict[str, object]
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model=MODEL, messages=HELLO, extra_body=extra)
    assert next(iter(extra)) == caught.value.param


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "json"])
async def test_the_engine_stops_when_a_client_gives_up(
    arks_up: ArksHarness, client: openai.AsyncOpenAI, *, stream: bool
) -> None:
    (engine,) = arks_up.engines()

    async def busy_slots() -> int:
        async with httpx.AsyncClient(timeout=20) as http:
            slots = (await http.get(f"http://{engine['address']}/slots")).json()
        return sum(slot["is_processing"] for slot in slots)

    async def idle() -> bool:
        return await busy_slots() == 0

    async def read() -> None:
        endless = {"max_tokens": 1500, "ignore_eos": True}
        answer = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=stream, extra_body=endless)
        if isinstance(answer, openai.AsyncStream):
            async for _ in answer:
                pass

    await eventually(idle, what="an engine without requests")
    request = asyncio.create_task(read())
    await eventually(busy_slots, what="the slot of the request")
    await asyncio.wait({request}, timeout=0.5)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await eventually(idle, within_seconds=5, what="the end of its work")  # 1,500 tokens take longer


async def test_embeddings_return_the_engine_s_own_error(client: openai.AsyncOpenAI) -> None:
    """A chat model's engine rejects embeddings; the client gets the engine's error, not a 500 of the gateway."""
    with pytest.raises(openai.APIStatusError) as caught:
        await client.embeddings.create(model=MODEL, input="hello")
    assert caught.value.status_code in {400, 501}
    assert caught.value.message
