"""Failures of token-quota, engines and the filter around a real Envoy: each ends fast, in the right error."""

import asyncio
import json

import httpx
import pytest

from arks.endpoint_router.adapters.envoy import listeners
from arks.endpoint_router.testing.gateway import Gateway, Gateways, grant
from arks.endpoint_router.testing.scripted import Request, answer, silence, stream
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real

BODY = b'{"model":"m"}'
LEASE = "0,0,0,1000,512"


def code(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/json"
    return str(response.json()["error"]["code"])


REFUSAL = b'{"error":{"message":"no","type":"t","param":null,"code":"c"}}'


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 503])
async def test_a_rejection_by_token_quota_is_the_answer(gateway: Gateway, status: int) -> None:
    passed = {"retry_after": "7", "x_ratelimit_remaining_tokens": "0", "x_error_rate_limit": "rpm"}
    kept = {"x_internal": "1", "server": "granian", "x_arks_grant": "a/b/c/lease/1/1"}
    gateway.admission.script = answer(REFUSAL, status, www_authenticate="Bearer", **passed, **kept)
    response = await gateway.post(BODY)
    assert (status, REFUSAL) == (response.status_code, response.content)
    assert ("application/json", "Bearer") == (response.headers["content-type"], response.headers["www-authenticate"])
    assert passed == {name: response.headers.get(name.replace("_", "-")) for name in passed}
    assert ("arks", None) == (response.headers["server"], response.headers.get("x-internal"))
    assert [] == gateway.engine.requests


@pytest.mark.parametrize(
    ("body", "status", "headers"),
    [
        (b"<html>", 500, {"content_type": "text/html"}),
        (b"upstream failure", 503, {"content_type": "text/plain"}),
        (b'{"detail":"x"}', 422, {}),
        (REFUSAL, 302, {"location": "http://x"}),
        (b"", 200, {}),
        (b"", 200, {"x_arks_cluster": "default/m"}),
        (b"", 200, {"x_arks_cluster": "default/m", "x_arks_grant": "default/m/alice", "x_arks_lease": LEASE}),
        (b"", 200, {"x_arks_cluster": "default/m", "x_arks_grant": "default/m/alice/lease/1/1"}),
        (b"", 200, {"x_arks_cluster": "default/m", "x_arks_grant": "default/m/alice/1/1", "x_arks_lease": LEASE}),
        (b"", 200, {"x_arks_cluster": "default/m", "x_arks_grant": "default/m/a/lease/1/1", "x_arks_lease": "1,2"}),
        (b"", 200, {"x_arks_grant": "default/m/alice/lease/1/1", "x_arks_lease": LEASE}),
    ],
)
async def test_an_answer_that_is_not_understood_is_no_grant(
    gateway: Gateway, body: bytes, status: int, headers: dict[str, str]
) -> None:
    gateway.admission.script = answer(body, status, **headers)
    response = await gateway.post(BODY)
    assert (503, "admission_unavailable", "1") == (
        response.status_code,
        code(response),
        response.headers["retry-after"],
    )
    assert [] == gateway.engine.requests


async def test_a_grant_of_the_first_release_admits_its_request_only(gateway: Gateway) -> None:
    """Its token-quota may still run beside a newer gateway during an upgrade."""
    gateway.admission.script = answer(b"", 200, x_arks_cluster="default/m", x_arks_grant="default/m/alice/1/1")
    assert [200, 200] == [(await gateway.post(BODY)).status_code for _ in range(2)]
    assert 2 == len(gateway.admission.requests)


async def break_connection(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def test_a_replica_that_breaks_every_connection_is_ejected(gateways: Gateways) -> None:
    gateway = await gateways.start(engines=2)
    gateway.engines[1].script = break_connection

    async def ejected() -> bool:
        assert 200 == (await gateway.post(BODY)).status_code
        return await gateway.stat("cluster.default/m.outlier_detection.ejections_active") == 1

    await eventually(ejected, what="the replica is ejected")
    assert 2 == len(gateway.engines[1].requests)


async def test_a_stream_at_a_replica_that_never_answers_goes_to_another_and_the_replica_is_ejected(
    gateways: Gateways,
) -> None:
    gateway = await gateways.start(engines=2, stream_first_byte_seconds=0.2)
    gateway.engines[0].script = silence
    gateway.engines[1].script = stream([b'data: {"id":"x"}\n\n', b"data: [DONE]\n\n"])

    async def ejected() -> bool:
        assert 200 == (await gateway.post(b'{"model":"m","stream":true}')).status_code
        return await gateway.stat("cluster.default/m.outlier_detection.ejections_active") == 1

    await eventually(ejected, within_seconds=30, what="the replica is ejected")
    assert len(gateway.engines[0].requests) <= 4  # two, and those that wait there when it is ejected


async def test_an_answer_that_is_not_a_stream_may_take_longer_than_a_streams_first_byte(gateways: Gateways) -> None:
    gateway = await gateways.start(stream_first_byte_seconds=0.05)

    async def slow(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)  # ten times the limit of streams
        await answer()(request, writer)

    gateway.engine.script = slow
    assert 200 == (await gateway.post(BODY)).status_code
    assert 1 == len(gateway.engine.requests)


async def test_what_clients_do_ejects_no_replica(gateways: Gateways) -> None:
    gateway = await gateways.start(engines=2)
    for status in (400, 413, 422, 429, 500):
        for engine in gateway.engines:
            engine.script = answer(b'{"error":{"message":"This model\'s maximum context length is 8 tokens"}}', status)
        for _ in range(6):
            await gateway.post(BODY)
    for engine in gateway.engines:
        engine.script = silence
    clients = [asyncio.create_task(gateway.post(BODY)) for _ in range(12)]
    before = sum(len(engine.requests) for engine in gateway.engines)
    await eventually(lambda: sum(len(engine.requests) for engine in gateway.engines) == before + len(clients))
    for client in clients:
        client.cancel()
    await gateway.usage(30 + len(clients))
    assert 0 == await gateway.stat("cluster.default/m.outlier_detection.ejections_enforced_total")


async def test_a_connection_that_sends_nothing_is_closed(gateways: Gateways) -> None:
    gateway = await gateways.start(first_byte_timeout_seconds=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.envoy.port)
    assert b"" == await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert 200 == (await gateway.post(BODY)).status_code


async def test_without_token_quota_no_request_passes(gateway: Gateway) -> None:
    await gateway.admission.stop()
    response = await gateway.post(BODY)
    assert (503, "admission_unavailable") == (response.status_code, code(response))
    models = await gateway.client.get("/v1/models")
    assert (503, "service_unavailable", "1") == (models.status_code, code(models), models.headers["retry-after"])
    assert [] == gateway.engine.requests
    await gateway.admission.start()
    await eventually(lambda: _succeeds(gateway), what="requests pass again")


async def _succeeds(gateway: Gateway) -> bool:
    return bool((await gateway.post(BODY)).status_code == 200)


async def test_a_broken_connection_to_token_quota_causes_no_client_error(gateway: Gateway) -> None:
    async def breaks_once(request: Request, writer: asyncio.StreamWriter) -> None:
        if len(gateway.admission.requests) == 1:
            writer.transport.abort()
        await grant()(request, writer)

    gateway.admission.script = breaks_once
    assert 200 == (await gateway.post(BODY)).status_code
    first, second = gateway.admission.requests
    assert first.headers["x-arks-request-id"] == second.headers["x-arks-request-id"]


async def test_the_filter_waits_two_seconds_for_token_quota(gateway: Gateway) -> None:
    gateway.admission.script = silence
    began = asyncio.get_running_loop().time()
    response = await gateway.post(BODY)
    assert (503, "admission_unavailable") == (response.status_code, code(response))
    assert 1.9 < asyncio.get_running_loop().time() - began < 10


async def test_without_its_filter_the_gateway_lets_no_request_pass(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_filter = listeners.build
    monkeypatch.setattr(listeners, "build", lambda settings, routes, _, log: with_filter(settings, routes, [], log))
    gateway = await gateways.start()
    response = await gateway.post(BODY, headers={"authorization": "Bearer k", "x-arks-cluster": "default/m"})
    assert (503, "service_unavailable") == (response.status_code, code(response))
    assert [] == gateway.engine.requests


async def test_a_killed_replica_causes_no_client_error(gateways: Gateways) -> None:
    gateway = await gateways.start(engines=2)
    answers: list[httpx.Response] = []
    while not all(engine.requests for engine in gateway.engines):  # Envoy has a connection to each, by chance
        assert len(answers) < 100
        answers.append(await gateway.post(BODY))
    await gateway.engines[0].stop()
    answers += await asyncio.gather(*(gateway.post(BODY) for _ in range(100)))
    assert {200} == {answer.status_code for answer in answers}
    assert ["e,12,3"] * len(answers) == [line["usage"] for line in await gateway.usage(len(answers))]


async def test_requests_that_wait_at_a_killed_replica_go_to_another(gateways: Gateways) -> None:
    gateway = await gateways.start(engines=2)
    gateway.engines[0].script = silence
    waiting = [asyncio.create_task(gateway.post(BODY)) for _ in range(20)]
    await eventually(lambda: len(gateway.engines[0].requests) + len(gateway.engines[1].requests) == 20)
    assert gateway.engines[0].requests
    await gateway.engines[0].stop()
    assert {200} == {(await answer).status_code for answer in waiting}


async def test_a_killed_replica_with_the_fewest_requests_causes_no_client_error(gateways: Gateways) -> None:
    gateway = await gateways.start(engines=2)
    killed, other = gateway.engines
    released, answered = asyncio.Event(), other.script

    async def wait(request: Request, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        await answered(request, writer)

    killed.script = other.script = wait
    requests = [asyncio.create_task(gateway.post(BODY)) for _ in range(12)]
    await eventually(lambda: len(killed.requests) + len(other.requests) == 12)
    assert killed.requests
    assert other.requests
    await killed.stop()
    requests.append(asyncio.create_task(gateway.post(BODY)))
    await eventually(lambda: len(other.requests) == 13 or any(map(asyncio.Task.done, requests)))
    released.set()
    assert {200} == {answer.status_code for answer in await asyncio.gather(*requests)}


async def test_a_request_is_retried_after_a_503_of_a_replica(gateways: Gateways) -> None:
    gateway = await gateways.start(engines=2)
    gateway.engines[0].script = answer(b'{"error":{"message":"Loading model"}}', 503)
    answers = await asyncio.gather(*(gateway.post(BODY) for _ in range(20)))
    assert {200} == {answer.status_code for answer in answers}
    sent = sum(len(engine.requests) for engine in gateway.engines)
    assert sent == sum(int(line["attempts"]) for line in await gateway.usage(20))


async def test_an_error_of_the_engine_is_not_retried(gateways: Gateways) -> None:
    gateway = await gateways.start(engines=2)
    for engine in gateway.engines:
        engine.script = answer(b'{"error":{}}', 500)
    assert 500 == (await gateway.post(BODY)).status_code
    assert 1 == sum(len(engine.requests) for engine in gateway.engines)


async def test_a_large_body_can_be_sent_to_another_replica(gateways: Gateways) -> None:
    gateway = await gateways.start(engines=2)
    gateway.engines[0].script = answer(b'{"error":{"message":"Loading model"}}', 503)
    body = b'{"model":"m","x":"%s"}' % (b"x" * 8_000_000)
    assert {200} == {(await gateway.post(body)).status_code for _ in range(4)}
    assert {body} == {request.body for request in gateway.engines[1].requests}


async def test_a_single_dead_replica_is_503_at_once_and_serves_after_its_restart(gateway: Gateway) -> None:
    await gateway.engine.stop()
    began = asyncio.get_running_loop().time()
    responses = [await gateway.post(BODY) for _ in range(5)]
    assert asyncio.get_running_loop().time() - began < 15
    assert [(503, "service_unavailable", "1")] * 5 == [
        (response.status_code, code(response), response.headers["retry-after"]) for response in responses
    ]
    assert ["503"] * 5 == [line["status"] for line in await gateway.usage(5)]
    await gateway.engine.start()
    assert 200 == (await gateway.post(BODY)).status_code


async def test_an_endpoint_without_a_cluster_is_503(gateway: Gateway) -> None:
    gateway.admission.script = grant("default/other")
    response = await gateway.post(BODY)
    assert (503, "service_unavailable") == (response.status_code, code(response))
    (line,) = await gateway.usage()
    assert ("503", "NC", "", "-") == tuple(line[name] for name in ("status", "flags", "upstream", "usage"))


async def test_an_engine_that_stays_silent_is_504(gateways: Gateways) -> None:
    gateway = await gateways.start(idle_timeout_seconds=0.3)
    gateway.engine.script = silence
    response = await gateway.post(BODY)
    assert (504, "timeout") == (response.status_code, code(response))
    assert json.loads(response.text)["error"]["type"] == "server_error"
