"""Answers through a real Envoy: what the client gets, and its line in the usage log."""

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog

from arks.endpoint_router.adapters.envoy import GatewaySettings, listeners
from arks.endpoint_router.adapters.envoy.messages import extension
from arks.endpoint_router.testing.gateway import Gateway, Gateways, grant
from arks.endpoint_router.testing.scripted import Request, Script, answer, chunk, head, send_events, silence, stream
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real

STREAM = b'{"model":"m","stream":true}'
STREAM_WITH_USAGE = b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}'


def event(**payload: Any) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


def delta(**fields: Any) -> bytes:
    return event(id="x", choices=[{"index": 0, "delta": fields}])


ROLE, FINISH, DONE = delta(role="assistant", content=""), delta(), b"data: [DONE]\n\n"
TOKENS = [delta(content=f"token{number}") for number in range(3)]
USAGE = event(id="x", choices=[], usage={"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15})
EVENTS = [ROLE, *TOKENS, FINISH, USAGE, DONE]
WITHOUT_USAGE = b"".join([ROLE, *TOKENS, FINISH, DONE])


async def test_a_client_that_did_not_request_usage_is_metered_without_getting_it(gateway: Gateway) -> None:
    gateway.engine.script = stream(EVENTS)
    assert WITHOUT_USAGE == (await gateway.post(STREAM)).content
    assert {"include_usage": True} == json.loads(gateway.engine.requests[0].body)["stream_options"]
    (line,) = await gateway.usage()
    assert ("true", "e,12,3") == (line["stream"], line["usage"])


async def test_a_client_that_requested_usage_gets_it(gateway: Gateway) -> None:
    gateway.engine.script = stream(EVENTS)
    assert b"".join(EVENTS) == (await gateway.post(STREAM_WITH_USAGE)).content
    assert STREAM_WITH_USAGE == gateway.engine.requests[0].body
    assert [line["usage"] for line in await gateway.usage()] == ["e,12,3"]


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("renamed", [{}, {"x_arks_engine_model": "engine/m"}])
async def test_the_answer_of_a_chat_has_what_openai_requires(
    gateway: Gateway, pieces: int, renamed: dict[str, str]
) -> None:
    page = {
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a"}}],
        "model": "engine/m",
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
    }
    whole = json.dumps(page).encode()

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head(content_type="application/json", content_length=str(len(whole))))
        size = -(-len(whole) // pieces)
        for at in range(0, len(whole), size):
            writer.write(whole[at : at + size])
            await writer.drain()
            await asyncio.sleep(0.01)

    gateway.admission.script, gateway.engine.script = grant(**renamed), script
    response = await gateway.post(b'{"model":"m"}')
    (choice,) = response.json()["choices"]
    assert (None, None, "a") == (choice["logprobs"], choice["message"]["refusal"], choice["message"]["content"])
    assert ("m" if renamed else "engine/m") == response.json()["model"]
    assert str(len(response.content)) == response.headers["content-length"]
    assert ["e,12,3"] == [line["usage"] for line in await gateway.usage()]


async def test_an_answer_in_json_may_be_longer_than_the_buffer_of_a_connection(gateway: Gateway) -> None:
    text = "a" * (2 * listeners.CONNECTION_BUFFER_BYTES - 1000)
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    page = json.dumps({"choices": [choice], "model": "m", "usage": usage}).encode()
    gateway.engine.script = answer(page)
    (found,) = (await gateway.post(b'{"model":"m"}')).json()["choices"]
    assert (None, text) == (found["logprobs"], found["message"]["content"])
    assert ["e,12,3"] == [line["usage"] for line in await gateway.usage()]


async def test_a_json_answer_of_unknown_length_is_passed_as_it_comes(gateway: Gateway) -> None:
    whole = b'{"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":12,"completion_tokens":3}}'

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head(content_type="application/json", transfer_encoding="chunked") + chunk(whole) + chunk(b""))

    gateway.engine.script = script
    assert whole == (await gateway.post(b'{"model":"m"}')).content
    assert ["e,12,3"] == [line["usage"] for line in await gateway.usage()]


async def test_answers_that_the_engine_did_not_count_are_charged(gateway: Gateway) -> None:
    choices = [{"text": "a b", "finish_reason": "length"}] * 3
    page = {"choices": choices, "usage": {"prompt_tokens": 12, "completion_tokens": 8}, "timings": {"predicted_n": 8}}
    gateway.engine.script = answer(json.dumps(page).encode())
    await gateway.post(b'{"model":"m","prompt":"a","n":3}', path="/v1/completions")
    assert [line["usage"] for line in await gateway.usage()] == ["e,12,24"]


@pytest.mark.parametrize("body", [STREAM, STREAM_WITH_USAGE])
async def test_usage_of_each_of_several_answers_is_added_up(gateway: Gateway, body: bytes) -> None:
    gateway.engine.script = stream([ROLE, *TOKENS, USAGE, *TOKENS, USAGE, DONE])
    await gateway.post(body.replace(b"{", b'{"n":2,', 1))
    assert [line["usage"] for line in await gateway.usage()] == ["e,12,6"]


@pytest.mark.parametrize(
    "pieces",
    [
        [bytes([byte]) for byte in b"".join(EVENTS)],
        [b"".join(EVENTS)],
        [*EVENTS[:-2], USAGE + DONE],
        [*EVENTS[:-3], FINISH + USAGE[:-1], b"\n" + DONE],
    ],
    ids=["a byte a piece", "all at once", "usage and end together", "usage cut at its end"],
)
async def test_the_pieces_of_a_body_do_not_matter(gateway: Gateway, pieces: list[bytes]) -> None:
    gateway.engine.script = stream(pieces)
    assert WITHOUT_USAGE == (await gateway.post(STREAM)).content
    assert [line["usage"] for line in await gateway.usage()] == ["e,12,3"]


async def test_a_stream_with_a_known_length_is_cut_too(gateway: Gateway) -> None:
    gateway.engine.script = answer(b"".join(EVENTS), content_type="text/event-stream")
    assert WITHOUT_USAGE == (await gateway.post(STREAM)).content


async def test_the_engines_name_of_a_model_is_not_the_clients(gateway: Gateway) -> None:
    gateway.admission.script = grant(x_arks_engine_model="Org/M-7B")
    page = {"model": "Org/M-7B", "choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 3}}
    gateway.engine.script = answer(json.dumps(page).encode())
    assert page | {"model": "m"} == (await gateway.post(b'{"model":"m"}')).json()
    events = [event(model="Org/M-7B", choices=[{"delta": {"content": "a"}}]), USAGE, DONE]
    gateway.engine.script = stream([events[0][:20], events[0][20:] + events[1], events[2]])
    streamed = (await gateway.post(STREAM)).content
    assert streamed == events[0].replace(b"Org/M-7B", b"m") + DONE
    assert ["Org/M-7B"] * 2 == [json.loads(request.body)["model"] for request in gateway.engine.requests]
    assert ["e,12,3"] * 2 == [line["usage"] for line in await gateway.usage(2)]


async def test_tokens_reach_the_client_while_the_engine_still_works(gateway: Gateway) -> None:
    goes_on = asyncio.Event()

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        await send_events(writer, [ROLE, TOKENS[0], TOKENS[1][:-2]])
        await goes_on.wait()
        writer.write(chunk(b"\n\n" + USAGE + DONE) + chunk(b""))

    gateway.engine.script = script
    expected, got = ROLE + TOKENS[0] + TOKENS[1][:-2], b""
    async with _streaming(gateway) as response:
        async for piece in response.aiter_raw():
            got += piece
            if got == expected:
                goes_on.set()
    assert goes_on.is_set()
    assert expected + b"\n\n" + DONE == got


def _streaming(gateway: Gateway) -> AbstractAsyncContextManager[httpx.Response]:
    headers = {"authorization": "Bearer k"}
    return gateway.client.stream("POST", "/v1/chat/completions", content=STREAM, headers=headers)


async def test_a_client_that_disconnects_is_charged_for_the_delivered_content(gateway: Gateway) -> None:
    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        await send_events(writer, [ROLE, *TOKENS])
        await asyncio.Event().wait()

    gateway.engine.script = script
    got = b""
    async with _streaming(gateway) as response:
        async for piece in response.aiter_raw():
            got += piece
            if got == b"".join([ROLE, *TOKENS]):
                break
    (line,) = await gateway.usage()
    assert ("200", "d,3") == (line["status"], line["usage"])
    assert "DC" in line["flags"]


async def test_an_answer_that_breaks_is_charged_for_the_delivered_content(gateway: Gateway) -> None:
    gateway.engine.script = stream([ROLE, *TOKENS], end=False)
    with pytest.raises(httpx.RemoteProtocolError):
        await gateway.post(STREAM)
    (line,) = await gateway.usage()
    assert ("200", "d,3") == (line["status"], line["usage"])
    assert "UPE" == line["flags"]


async def test_a_client_that_disconnects_before_the_answer_gets_a_line_without_usage(gateway: Gateway) -> None:
    gateway.engine.script = silence
    asking = asyncio.create_task(gateway.post(STREAM))
    await eventually(lambda: gateway.engine.requests, what="the engine has the request")
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    (line,) = await gateway.usage()
    assert ("0", "0", "-") == (line["status"], line["first_byte_ms"], line["usage"])


async def test_the_line_of_a_request_is_in_the_log_before_its_client_has_the_answer(gateway: Gateway) -> None:
    """So a killed Envoy loses the line of no request that was answered."""
    for number in range(1, 4):
        await gateway.post(b'{"model":"m"}')
        assert number == gateway.usage_log.read_text().count("]\n")


async def test_a_listener_of_the_version_before_has_usage_in_envoys_own_log(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    def envoys_own(settings: GatewaySettings) -> list[dict[str, Any]]:
        known = "%DYNAMIC_METADATA(arks:grant)%,%DYNAMIC_METADATA(arks:usage)%\n"
        log_format = {"text_format_source": {"inline_string": known}}
        return [
            {
                "name": "own",
                "typed_config": extension(FileAccessLog, path=settings.usage_log_path, log_format=log_format),
            }
        ]

    with_name = listeners._module
    monkeypatch.setattr(listeners, "usage_log", envoys_own)
    monkeypatch.setattr(listeners, "_module", lambda name, *others: with_name(name.replace("logging-", ""), *others))
    gateway = await gateways.start()
    await gateway.post(b'{"model":"m"}')
    await eventually(gateway.usage_log.read_text, what="a line of usage")
    line = gateway.usage_log.read_text()
    assert line.startswith("chat.completions\t0\t")
    assert line.endswith(",e,12,3\n")


async def test_embeddings_are_metered_by_their_prompt(gateway: Gateway) -> None:
    data = json.dumps({"data": [{"embedding": [0.25] * 100_000}], "usage": {"prompt_tokens": 5, "total_tokens": 5}})
    gateway.engine.script = answer(data.encode())
    assert data.encode() == (await gateway.post(b'{"model":"m","input":"x"}', path="/v1/embeddings")).content
    assert [line["usage"] for line in await gateway.usage()] == ["e,5,0"]


async def test_an_error_in_openais_shape_passes_unchanged_without_usage(gateway: Gateway) -> None:
    body = b'{"error":{"message":"too long","type":"invalid_request_error","param":null,"code":null}}'
    gateway.engine.script = answer(body, 400)
    response = await gateway.post(STREAM)
    assert (400, body) == (response.status_code, response.content)
    assert [(line["status"], line["usage"]) for line in await gateway.usage()] == [("400", "-")]


async def test_every_answer_has_the_clients_limits(gateway: Gateway) -> None:
    gateway.admission.script = grant(x_ratelimit_reset_tokens="1m3s", x_secret="no", x_error_token="no")
    gateway.engine.script = answer(x_ratelimit_limit_requests="the engine's own", server="uvicorn")
    response = await gateway.post(b'{"model":"m"}')
    limits = {name: value for name, value in response.headers.items() if name.startswith("x-ratelimit-")}
    assert limits == {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "99",
        "x-ratelimit-reset-tokens": "1m3s",
    }
    assert "arks" == response.headers["server"]
    assert not {"x-secret", "x-error-token", "x-arks-grant", "x-arks-cluster"} & response.headers.keys()


async def test_streams_do_not_wait_for_delayed_acknowledgements(gateway: Gateway) -> None:
    gateway.engine.script = stream([delta(content="x")] * 50 + [DONE], pause_seconds=0.002)
    began, gaps = asyncio.get_running_loop().time(), []
    async with _streaming(gateway) as response:
        async for _ in response.aiter_raw():
            now = asyncio.get_running_loop().time()
            gaps.append(now - began)
            began = now
    assert sorted(gaps)[len(gaps) // 2] < 0.035


PICTURE_REFUSED = (
    b'{"error":{"code":500,"message":"image input is not supported - hint: mmproj","type":"server_error"}}'
)


async def chunked_error(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 500 Bad\r\ncontent-type: text/html\r\ntransfer-encoding: chunked\r\n\r\n")
    writer.write(chunk(PICTURE_REFUSED[:20]) + chunk(PICTURE_REFUSED[20:]) + chunk(b""))


@pytest.mark.parametrize("body", [STREAM, b'{"model":"m"}'])
@pytest.mark.parametrize("script", [answer(PICTURE_REFUSED, 500), chunked_error])
async def test_an_engines_error_has_openais_shape(gateway: Gateway, body: bytes, script: Script) -> None:
    gateway.engine.script = script
    response = await gateway.post(body)
    error = {
        "message": "This model does not take images, audio or video.",
        "type": "invalid_request_error",
        "param": None,
        "code": "unsupported_content",
    }
    assert (400, {"error": error}) == (response.status_code, response.json())
    assert response.headers["content-type"] == "application/json"
    (line,) = await gateway.usage()
    assert ("400", "-") == (line["status"], line["usage"])


async def test_an_engines_error_without_a_body_gets_one(gateway: Gateway) -> None:
    gateway.engine.script = answer(b"", 500)
    response = await gateway.post(b'{"model":"m"}')
    assert (500, "engine_error") == (response.status_code, response.json()["error"]["code"])
