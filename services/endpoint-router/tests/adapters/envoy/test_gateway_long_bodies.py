"""Long bodies, which another thread than Envoy's worker reads, pass and fail as short ones do."""

import asyncio
import json
from pathlib import Path

import pytest

from arks.endpoint_router.testing.gateway import Gateway, Gateways
from arks.endpoint_router.testing.scripted import answer, silence
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real

CHAT = "/v1/chat/completions"
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-secret\r\ncontent-length: %d\r\n\r\n"


def long_body(megabytes: int, **fields: object) -> bytes:
    messages = [{"role": "user", "content": "a"}] * (megabytes * 2**20 // 31)
    return json.dumps({"model": "org/m 1", **fields, "messages": messages}, separators=(",", ":")).encode()


async def test_a_long_body_reaches_the_engine_as_it_was_sent(gateway: Gateway) -> None:
    body = long_body(4)
    assert 200 == (await gateway.post(body)).status_code
    (query,) = gateway.admission.requests[-1:]
    assert ("org/m%201", str(len(body))) == (query.headers["x-arks-model"], query.headers["x-arks-body-bytes"])
    assert body == gateway.engine.requests[-1].body


async def test_a_long_body_of_a_stream_requests_usage(gateway: Gateway) -> None:
    await gateway.post(long_body(1, stream=True))
    assert {"include_usage": True} == json.loads(gateway.engine.requests[-1].body)["stream_options"]


@pytest.mark.parametrize("size", [40_000, 220_000, 700_000])
@pytest.mark.parametrize("end", [b"", b" \r\n"])
async def test_usage_of_a_body_in_pieces_is_requested_at_its_end(gateway: Gateway, size: int, end: bytes) -> None:
    gateway.engine.script = answer(b'{"error":{"message":"Loading model"}}', 503)
    messages = [{"role": "user", "content": 'a "b"\n' + "c" * size}]
    body = json.dumps({"model": "org/m 1", "stream": True, "messages": messages}).encode()
    await gateway.post(body + end)
    usage = b',%b"stream_options":{"include_usage":true}}' % end
    assert [body[:-1] + usage] * 4 == [request.body for request in gateway.engine.requests]


async def test_the_model_of_a_body_in_pieces_and_its_size_are_queried(gateway: Gateway) -> None:
    body = b'{"messages":[{"content":"' + b"c" * 220_000 + b'"}],"model":"org/m 2"}'
    assert 200 == (await gateway.post(body)).status_code
    (query,) = gateway.admission.requests[-1:]
    assert ("org/m%202", str(len(body))) == (query.headers["x-arks-model"], query.headers["x-arks-body-bytes"])
    assert body == gateway.engine.requests[-1].body


@pytest.mark.parametrize(
    ("body", "param"),
    [(long_body(1)[:-1], None), (long_body(1, stream="yes"), "stream"), (long_body(1, n=0), "n")],
    ids=["cut", "stream", "n"],
)
async def test_a_fault_of_a_long_body_is_answered_with_400(gateway: Gateway, body: bytes, param: str | None) -> None:
    response = await gateway.post(body)
    assert (400, param) == (response.status_code, response.json()["error"]["param"])
    assert [] == gateway.engine.requests


LONGEST_RETRIED = 8 * 2**20


def body_of(length: int, start: bytes = b'{"model":"m","x":"') -> bytes:
    return start + b"x" * (length - len(start) - 2) + b'"}'


async def test_the_longest_body_that_is_kept_has_other_attempts(gateway: Gateway) -> None:
    gateway.engine.script = answer(b'{"error":{"message":"Loading model"}}', 503)
    assert 503 == (await gateway.post(body_of(LONGEST_RETRIED))).status_code
    assert 4 == len(gateway.engine.requests)


async def test_a_longer_body_is_not_kept_and_has_one_attempt(gateway: Gateway) -> None:
    """To keep 31 MiB, Envoy's worker copies 5 ms in one step."""
    gateway.engine.script = answer(b'{"error":{"message":"Loading model"}}', 503)
    assert 503 == (await gateway.post(body_of(LONGEST_RETRIED + 1))).status_code
    (request,) = gateway.engine.requests
    assert [] == [name for name in request.headers if name.startswith("x-arks")]


async def test_a_stream_with_one_attempt_ends_when_its_replica_never_answers(gateways: Gateways) -> None:
    gateway = await gateways.start(stream_first_byte_seconds=0.2)
    gateway.engine.script = silence
    body = body_of(LONGEST_RETRIED + 1, b'{"model":"m","stream":true,"x":"')
    assert 504 == (await gateway.post(body)).status_code
    assert 1 == len(gateway.engine.requests)


async def test_long_bodies_have_connections_of_their_own_to_a_replica(gateway: Gateway) -> None:
    """Those connections have a limit of bytes a second, which would delay others."""
    for length in (2**20, 2**20, 2**20 + 1, 2**20 + 1, 2**20):
        assert 200 == (await gateway.post(body_of(length))).status_code
    assert 2 == await gateway.stat("cluster.default/m.upstream_cx_total")


async def test_long_bodies_beside_each_other_are_all_answered(gateway: Gateway) -> None:
    """More than wait for the thread: the worker reads the others."""
    answers = await asyncio.gather(*(gateway.post(long_body(2)) for _ in range(12)))
    assert [200] * 12 == [answer.status_code for answer in answers]


@pytest.mark.parametrize(("number", "megabytes"), [(6, 16), (30, 3)], ids=["longer", "as-long"])
async def test_a_key_does_not_wait_for_all_bodies_of_another(gateway: Gateway, number: int, megabytes: int) -> None:
    body = long_body(megabytes)
    others = [asyncio.create_task(gateway.post(body)) for _ in range(number)]

    async def received() -> bool:
        return await gateway.stat("http.gateway.downstream_cx_rx_bytes_total") > number * len(body)

    await eventually(received, within_seconds=60, what="Envoy has all bodies of the other key")
    answers = await asyncio.gather(gateway.post(long_body(1), headers={"authorization": "Bearer sk-other"}), *others)
    assert [200] * (1 + number) == [answer.status_code for answer in answers]
    lengths = [int(query.headers["x-arks-body-bytes"]) for query in gateway.queries()]  # in the order of their reading
    assert 1 + number == len(lengths)
    assert lengths.index(min(lengths)) < number


async def test_a_hang_up_while_a_body_is_read_harms_no_other_client(gateway: Gateway) -> None:
    body = long_body(16)
    for _ in range(5):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.envoy.port)
        writer.write(HEAD % len(body) + body)
        await writer.drain()
        writer.transport.abort()

    async def answered() -> bool:
        return (await gateway.post(long_body(1))).status_code == 200

    await eventually(answered, within_seconds=10)


async def test_the_thread_that_reads_long_bodies_yields_to_workers(gateway: Gateway) -> None:
    assert 200 == (await gateway.post(long_body(1))).status_code
    nice = {}
    for task in Path(f"/proc/{gateway.envoy.process.pid}/task").iterdir():
        name, fields = (task / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
        nice[name] = int(fields.split()[16])
    assert min(nice["wrk:worker_0"] + 10, 19) == nice["arks-reader"], nice
