"""deploy/compose.yaml as its users run it, with real engines and OpenAI's client."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import grpc
import httpx
import openai
import pytest
import pytest_asyncio

from arks.engine.v1 import ark_pb2 as ark
from arks.kit.testing.servers import small_model
from arks.kit.testing.wait import eventually
from deploy.ark.tests.composed import ROOT, SERVICES, Composed, composed

MODEL = small_model().stem
SERVICE = "/arks.engine.v1.EngineService/"
MOON: list[Any] = [{"role": "user", "content": "Write a sentence about the moon."}]
"""Some 40 tokens with the template."""


class Page:
    """The services of the page, and clients of them."""

    def __init__(self, services: Composed) -> None:
        self.services = services
        self.api = f"http://127.0.0.1:{services.port('api-server', 18080)}"
        self.openai = openai.AsyncOpenAI(base_url=f"{self.api}/v1", api_key="unused", max_retries=0)

    async def health(self, service: str) -> ark.HealthResponse:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.services.port(service, 62000)}") as channel:
            return ark.HealthResponse.FromString(await channel.unary_unary(f"{SERVICE}Health")(b""))

    async def complete(self, service: str, messages: list[dict[str, Any]]) -> ark.CompleteResponse:
        """Directly from an engine."""
        chat = ark.Chat(messages=[ark.Message(**message) for message in messages])
        sampling = ark.Sampling(temperature=0, seed=5)
        generation = ark.Generation(id=service, model=MODEL, chat=chat, sampling=sampling, max_tokens=12)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.services.port(service, 62000)}") as channel:
            call = channel.unary_unary(f"{SERVICE}Complete")
            answer = await call(ark.CompleteRequest(generation=generation).SerializeToString())
        return ark.CompleteResponse.FromString(answer)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Page]:
    async with composed(tmp_path_factory.mktemp("ark"), "prefiller", "decoder", "api-server") as services:
        page = Page(services)
        yield page
        await page.openai.close()


def test_the_api_server_starts_without_any_other_service() -> None:
    assert {"prefiller", "decoder", "api-server"} == set(SERVICES)
    assert not any("depends_on" in service for service in SERVICES.values())
    assert ["18080:18080"] == SERVICES["api-server"]["ports"]


def test_what_the_dockerfile_copies_exists_and_is_sent_to_the_builder() -> None:
    dockerfile = (ROOT / "deploy/ark/Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    ignored = (ROOT / "deploy/ark/Dockerfile.dockerignore").read_text().split()
    assert "services" in sources
    assert [] == [source for source in sources if not (ROOT / source).exists()]
    assert [] == [
        (source, pattern)
        for source in sources
        for pattern in ignored
        if any(fnmatch(part, pattern.removeprefix("**/")) for part in Path(source).parts)
    ]


def test_each_service_is_built_from_a_stage_of_the_dockerfile() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "deploy/ark/Dockerfile").read_text(), re.MULTILINE)
    for service in SERVICES.values():
        assert service["build"]["target"] in stages
        assert (ROOT / "deploy" / service["build"]["context"] / service["build"]["dockerfile"]).exists()


@pytest.mark.real
def test_docker_compose_accepts_the_file() -> None:
    """Needs no daemon."""
    if not _has_compose():
        pytest.skip("Docker has no plugin compose here")
    subprocess.run(["docker", "compose", "-f", "deploy/compose.yaml", "config", "--quiet"], cwd=ROOT, check=True)


def _has_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


@pytest.mark.real
def test_the_pages_command_generates_bindings(tmp_path: Path) -> None:
    out = ["--python_out", str(tmp_path), "--grpc_python_out", str(tmp_path)]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I./proto", *out, "./proto/ark.proto"]
    subprocess.run(command, cwd=ROOT, check=True)
    program = (
        "import ark_pb2, ark_pb2_grpc; print(ark_pb2_grpc.EngineServiceStub.__name__, ark_pb2.Generation.__name__)"
    )
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "EngineServiceStub Generation" == found.stdout.strip()


@pytest.mark.real
def test_the_pages_entry_point_is_an_application() -> None:
    command = [sys.executable, "-c", "import openai_api_server; print(openai_api_server.app.title)"]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "Arks openai-proxy" == found.stdout.strip()


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
class TestPage:
    async def test_openais_client_lists_models_and_chats(self, page: Page) -> None:
        assert [MODEL] == [model.id async for model in page.openai.models.list()]
        answer = await page.openai.chat.completions.create(model=MODEL, messages=MOON, max_tokens=8, temperature=0)
        assert answer.usage is not None
        assert (8, "length") == (answer.usage.completion_tokens, answer.choices[0].finish_reason)
        assert answer.choices[0].message.content

    async def test_a_stream_has_the_same_text_and_usage_as_the_whole_answer(self, page: Page) -> None:
        request: dict[str, Any] = {"model": MODEL, "messages": MOON, "max_tokens": 8, "temperature": 0}
        answer = await page.openai.chat.completions.create(**request)
        stream = await page.openai.chat.completions.create(
            **request, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert (answer.choices[0].message.content, answer.usage) == (text, chunks[-1].usage)

    async def test_a_prompt_is_processed_by_the_prefiller_only(self, page: Page) -> None:
        before = await page.health("decoder")
        answer = await page.complete("decoder", [{"role": "user", "content": "What is a prefiller?"}])
        assert answer.usage.prompt_tokens == answer.usage.cached_prompt_tokens
        assert f"127.0.0.1:{page.services.port('prefiller', 62000)}" == answer.timing.prefiller
        after = await page.health("decoder")
        assert (before.handed_over + 1, 0) == (after.handed_over, after.fallbacks)
        assert after.prompt_tokens == (await page.health("prefiller")).prompt_tokens

    @pytest.mark.parametrize(
        ("fields", "error", "code"),
        [
            ({"model": "other"}, openai.NotFoundError, "model_not_found"),
            (
                {"messages": [{"role": "user", "content": "x " * 2_000}]},
                openai.BadRequestError,
                "context_length_exceeded",
            ),
            (
                {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]},
                openai.BadRequestError,
                "unsupported_content",
            ),
            ({"temperature": 3}, openai.BadRequestError, "invalid_value"),
        ],
    )
    async def test_openais_client_raises_the_right_error(
        self, fields: dict[str, Any], error: type[openai.APIStatusError], code: str, page: Page
    ) -> None:
        with pytest.raises(error) as raised:
            await page.openai.chat.completions.create(**{"model": MODEL, "messages": MOON} | fields)
        assert code == raised.value.code

    async def test_texts_logprobs_choices_and_json_come_from_the_engine(self, page: Page) -> None:
        text = await page.openai.completions.create(model=MODEL, prompt="The sky is", max_tokens=2, logprobs=2, n=2)
        assert [2, 2] == [len(choice.logprobs.tokens or ()) for choice in text.choices if choice.logprobs]
        schema = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"], "additionalProperties": False}
        wanted: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        chat = await page.openai.chat.completions.create(
            model=MODEL,
            messages=MOON,
            max_tokens=20,
            temperature=0,  # JSON may be followed by any white space, in which a sampled answer can lose itself
            response_format=wanted,
        )
        assert {"a": 1} == json.loads(chat.choices[0].message.content or "")

    async def test_a_request_with_tools_is_answered_and_one_that_names_its_tool_is_refused(self, page: Page) -> None:
        tool: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
        request: dict[str, Any] = {"model": MODEL, "messages": MOON, "max_tokens": 4, "tools": [tool]}
        answer = await page.openai.chat.completions.create(**request)
        assert answer.choices[0].finish_reason in {"stop", "length", "tool_calls"}
        with pytest.raises(openai.BadRequestError) as refused:
            named: Any = {"type": "function", "function": {"name": "weather"}}
            await page.openai.chat.completions.create(**request, tool_choice=named)
        assert ("unsupported_parameter", "tool_choice") == (refused.value.code, refused.value.param)

    async def test_a_client_that_disconnects_frees_the_slot(self, page: Page) -> None:
        never_ends = {"max_tokens": 400, "logit_bias": {"2": -100}}  # 2 is the end of a message
        body = {"model": MODEL, "messages": MOON, "stream": True} | never_ends
        async with (
            httpx.AsyncClient(timeout=30) as http,
            http.stream("POST", f"{page.api}/v1/chat/completions", json=body) as answer,
        ):
            lines = answer.aiter_lines()  # httpx ends the request when this is collected
            await anext(lines)
            assert 1 == (await page.health("decoder")).running

        async def free() -> bool:
            return (await page.health("decoder")).running == 0

        await eventually(free, within_seconds=3.0, what="the slot is free")

    async def test_both_gives_the_same_text_and_a_killed_prefiller_costs_no_answer(
        self, page: Page, tmp_path: Path
    ) -> None:
        """The last test: the prefiller is gone afterwards."""
        messages = [{"role": "user", "content": "Name the planets, " + "and their moons, " * 8}]
        apart = await page.complete("decoder", messages)
        assert apart.timing.prefiller
        fallbacks = (await page.health("decoder")).fallbacks
        killed = [{"role": "user", "content": "Count to ten, " + "slowly, " * 60}]
        request = asyncio.ensure_future(page.complete("decoder", killed))

        async def prefills() -> bool:
            return (await page.health("prefiller")).running == 1

        await eventually(prefills, what="the prefiller works on the prompt")
        page.services.processes["prefiller"].kill()
        alone = await request
        assert ("", 12) == (alone.timing.prefiller, alone.usage.completion_tokens)
        assert fallbacks + 1 == (await page.health("decoder")).fallbacks
        async with composed(tmp_path, "prefiller") as fresh:  # another engine with nothing in its slots
            both = await Page(fresh).complete("prefiller", messages)
        assert (apart.choices[0].text, "") == (both.choices[0].text, both.timing.prefiller)
