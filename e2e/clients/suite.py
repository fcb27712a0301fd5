# mypy: ignore-errors
"""Clients that others wrote, unmodified, against a running Arks: `make test-clients` starts both.

ARKS_URL, ARKS_KEY_FILE and ARKS_MODEL name it. The demo's model has no template for tools, so what is tested
is that a request with tools is refused in a form that clients read.
"""

import os
from pathlib import Path
from typing import Literal

import instructor
import litellm
import openai
import pytest
from langchain_openai import ChatOpenAI
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

URL, MODEL = os.environ["ARKS_URL"], os.environ.get("ARKS_MODEL", "smollm2")
KEY = Path(os.environ["ARKS_KEY_FILE"]).read_text().strip()
HELLO = [{"role": "user", "content": "Say hello."}]
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


class City(BaseModel):
    """Its texts have an end, which the demo's model seldom finds by itself."""

    name: Literal["Paris", "Rome"]
    is_capital: bool


@pytest.fixture
def client():
    with openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0) as client:
        yield client


def test_openai_chats_streams_and_lists_models(client):
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=8)
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens <= 8
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=8, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert MODEL in [model.id for model in client.models.list()]


def test_openai_parses_structured_output(client):
    answer = client.chat.completions.parse(model=MODEL, messages=HELLO, max_tokens=200, response_format=City)
    assert isinstance(answer.choices[0].message.parsed, City)


def test_openai_raises_its_typed_errors(client):
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="none", messages=HELLO)
    with pytest.raises(openai.BadRequestError) as refused:
        named = {"type": "function", "function": {"name": "weather"}}
        client.chat.completions.create(model=MODEL, messages=HELLO, tools=[TOOL], tool_choice=named)
    assert "tool_choice" == refused.value.param
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=MODEL, messages=HELLO, tools=[TOOL])
    assert "tools" == refused.value.param
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model=MODEL, input="a")
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()


def test_litellm_chats_streams_and_raises_its_typed_errors():
    options = {"model": f"openai/{MODEL}", "api_base": URL, "api_key": KEY, "messages": HELLO, "max_tokens": 8}
    assert litellm.completion(**options).choices[0].message.content
    assert [chunk for chunk in litellm.completion(**options, stream=True) if chunk.choices[0].delta.content]
    with pytest.raises(litellm.BadRequestError, match="tools"):
        litellm.completion(**options, tools=[TOOL])
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(**{**options, "model": "openai/none"})


def test_langchain_chats_streams_and_returns_structures():
    model = ChatOpenAI(model=MODEL, base_url=URL, api_key=KEY, max_tokens=200)
    assert model.invoke("Say hello.").content
    assert "".join(chunk.content for chunk in model.stream("Say hello."))
    assert isinstance(model.with_structured_output(City, method="json_schema").invoke("A city."), City)


def test_llama_index_chats_and_streams():
    model = OpenAILike(model=MODEL, api_base=URL, api_key=KEY, is_chat_model=True, max_tokens=8)
    messages = [ChatMessage(role="user", content="Say hello.")]
    assert model.chat(messages).message.content
    assert [part for part in model.stream_chat(messages) if part.delta]


def test_instructor_returns_structures(client):
    mode = instructor.Mode.JSON_SCHEMA
    found = instructor.from_openai(client, mode=mode).create(
        model=MODEL, messages=HELLO, max_tokens=200, response_model=City
    )
    assert isinstance(found, City)


def test_pydantic_ai_answers_and_returns_structures():
    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=URL, api_key=KEY))
    settings = {"max_tokens": 200}
    assert Agent(model).run_sync("Say hello.", model_settings=settings).output
    agent = Agent(model, output_type=NativeOutput(City))
    assert isinstance(agent.run_sync("A city.", model_settings=settings).output, City)
