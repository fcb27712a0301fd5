"""Limits by client address and on long bodies, through a real Envoy."""

import asyncio
import json
import signal
import time
from contextlib import suppress

import httpx
import pytest

from arks.endpoint_router.adapters.envoy import listeners
from arks.endpoint_router.testing.gateway import Gateway, Gateways, grant
from arks.endpoint_router.testing.scripted import JSON_ANSWER, Request, answer
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real

BODY = b'{"model":"m"}'
LONG_BODY = b'{"model":"m","messages":[' + b",".join([b'{"role":"user","content":"a"}'] * 25_000) + b"]}"
REJECTION = b'{"error":{"message":"no","type":"t","param":null,"code":"c"}}'
LIVE = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
FAILURES = 3
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n%s\r\n"
LENGTH = b"content-length: %d\r\n" % len(LONG_BODY)
CHUNKED = b"transfer-encoding: chunked\r\n"
RECEIVED = "http.gateway.downstream_cx_rx_bytes_total"


async def check_key(request: Request, writer: asyncio.StreamWriter) -> None:
    """Grant the keys that begin with `good`, and only them."""
    is_good = request.headers["authorization"].startswith("Bearer good")
    script = grant() if is_good else answer(REJECTION, 401, x_arks_refusal="1000,key", content_type="application/json")
    await script(request, writer)


async def responses(gateway: Gateway, number: int, prefix: str, **headers: str) -> list[httpx.Response]:
    """Send a request each with so many keys, one after the other."""
    keys = [f"Bearer {prefix}-{key}" for key in range(number)]
    return [await gateway.post(BODY, headers={"authorization": key, **headers}) for key in keys]


async def statuses(gateway: Gateway, number: int, prefix: str = "wrong", **headers: str) -> list[int]:
    return [response.status_code for response in await responses(gateway, number, prefix, **headers)]


async def test_wrong_keys_beyond_the_rate_of_an_address_cause_no_query(gateways: Gateways) -> None:
    gateway = await gateways.start(failures_per_second=FAILURES)
    gateway.admission.script = check_key
    began = time.monotonic()
    sent = await responses(gateway, 30, "wrong")
    most = FAILURES * (2 + time.monotonic() - began)  # a second's worth at once, then so many a second
    found = [response.status_code for response in sent]
    assert {401, 429} == set(found)
    assert [401] * FAILURES == found[:FAILURES]
    assert found.count(401) == len(gateway.queries()) <= most
    refused = sent[found.index(429)]
    assert ("1", "too_many_failures") == (refused.headers["retry-after"], refused.json()["error"]["code"])


async def test_a_key_that_was_valid_passes_beside_wrong_keys_of_its_address(gateways: Gateways) -> None:
    gateway = await gateways.start(failures_per_second=FAILURES)
    gateway.admission.script = check_key
    assert [200] == await statuses(gateway, 1, "good")
    assert 429 in await statuses(gateway, 10)
    assert [200] == await statuses(gateway, 1, "good")


async def test_an_address_is_checked_again_soon_after_its_wrong_keys(gateways: Gateways) -> None:
    gateway = await gateways.start(failures_per_second=FAILURES)
    gateway.admission.script = check_key
    assert 429 in await statuses(gateway, 10)

    async def passes() -> bool:
        return [200] == await statuses(gateway, 1, "good")

    await eventually(passes, within_seconds=10)


async def test_wrong_keys_before_long_bodies_count_too(gateways: Gateways) -> None:
    gateway = await gateways.start(failures_per_second=FAILURES)
    gateway.admission.script = check_key

    async def status(key: bytes) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.envoy.port)
        writer.write(HEAD % (key, b"content-length: 1000000\r\n"))
        line = await asyncio.wait_for(reader.readline(), 60)
        writer.transport.abort()
        return int(line.split(b" ")[1])

    assert {401, 429} == {await status(b"wrong-%d" % key) for key in range(10)}
    assert 10 > len(gateway.queries("/v1/key"))


@pytest.mark.parametrize(
    ("hops", "addresses", "are_limited"),
    [
        (0, ("192.0.2.1", "192.0.2.2"), True),
        (1, ("192.0.2.1", "192.0.2.2"), False),
        (1, ("192.0.2.1, 203.0.113.7", "192.0.2.2, 203.0.113.7"), True),
        (2, ("192.0.2.1, 203.0.113.7", "192.0.2.2, 203.0.113.7"), False),
        (1, ("2001:db8::1", "2001:db8::2"), True),
        (1, ("2001:db8::1", "2001:db8:0:1::1"), False),
    ],
    ids=["untrusted", "one hop", "claimed before a hop", "two hops", "one /64", "two /64"],
)
async def test_another_address_is_limited_only_if_it_is_the_same_network(
    gateways: Gateways, hops: int, addresses: tuple[str, str], are_limited: bool
) -> None:
    """`x-forwarded-for` counts as far as proxies are trusted: what a client claims itself does not.

    With the lowest rate, the next failure is allowed only a second after the first: no request takes as long.
    """
    gateway = await gateways.start(failures_per_second=1, trusted_hops=hops)
    gateway.admission.script = check_key
    first, second = addresses
    assert 429 in await statuses(gateway, 3, **{"x-forwarded-for": first})
    found = await statuses(gateway, 1, "other", **{"x-forwarded-for": second})
    assert [429 if are_limited else 401] == found


async def test_engines_get_no_address_of_a_client_behind_proxies(gateways: Gateways) -> None:
    gateway = await gateways.start(trusted_hops=1)
    headers = {"authorization": "Bearer k", "x-forwarded-for": "192.0.2.1", "x-arks-cluster": "default/other"}
    assert 200 == (await gateway.post(BODY, headers=headers)).status_code
    assert "192.0.2.1" not in json.dumps(gateway.engine.requests[0].headers)


async def hold(gateway: Gateway, key: bytes, length: bytes) -> asyncio.StreamWriter:
    """Send all but the end of a long body. Envoy has it then, so that no later request takes its room."""
    before = await gateway.stat(RECEIVED)
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.envoy.port)
    chunk = b"%x\r\n" % len(LONG_BODY) if length == CHUNKED else b""
    sent = HEAD % (key, length) + chunk + LONG_BODY[:-1]
    writer.write(sent)

    async def has_arrived() -> bool:
        return await gateway.stat(RECEIVED) >= before + len(sent)

    await eventually(has_arrived, every_seconds=0.05, what="Envoy has the body")
    return writer


async def is_refused(gateway: Gateway, key: bytes, header: bytes = b"") -> bool:
    """Whether the head of a long body is answered 429. One that is admitted gets no answer before its body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.envoy.port)
    writer.write(HEAD % (key, LENGTH + header))
    line = b""
    with suppress(TimeoutError):
        line = await asyncio.wait_for(reader.readline(), 0.5)
    writer.transport.abort()
    return line.split(b" ")[1:2] == [b"429"]


async def answers(gateway: Gateway, key: str) -> int:
    return (await gateway.post(LONG_BODY, headers={"authorization": f"Bearer {key}"})).status_code


async def test_a_key_holds_a_quarter_of_the_long_bodies_and_others_pass(gateways: Gateways) -> None:
    gateway = await gateways.start(long_body_bytes=8 * len(LONG_BODY))
    held = [await hold(gateway, b"a", LENGTH) for _ in range(2)]
    await eventually(lambda: is_refused(gateway, b"a"), what="two bodies of the key are held")
    refused = await gateway.post(LONG_BODY, headers={"authorization": "Bearer a"})
    assert ("1", "too_many_long_bodies") == (refused.headers["retry-after"], refused.json()["error"]["code"])
    assert 200 == await answers(gateway, "b")
    assert 200 == (await gateway.post(BODY, headers={"authorization": "Bearer a"})).status_code  # a short one
    for writer in held:
        writer.transport.abort()

    async def is_admitted() -> bool:
        return 200 == await answers(gateway, "a")

    await eventually(is_admitted, what="the bodies of clients that have left hold nothing")


async def test_an_address_holds_a_half_of_the_long_bodies_whatever_its_keys(gateways: Gateways) -> None:
    gateway = await gateways.start(long_body_bytes=4 * len(LONG_BODY), trusted_hops=1)
    own, other = b"x-forwarded-for: 192.0.2.1\r\n", {"x-forwarded-for": "192.0.2.2"}
    held = [await hold(gateway, key, LENGTH + own) for key in (b"a", b"b")]
    await eventually(lambda: is_refused(gateway, b"c", own), what="two bodies of the address are held")
    response = await gateway.post(LONG_BODY, headers={"authorization": "Bearer c", **other})
    assert 200 == response.status_code
    for writer in held:
        writer.transport.abort()


async def test_a_long_body_of_unknown_length_counts_as_the_longest(gateways: Gateways) -> None:
    gateway = await gateways.start(long_body_bytes=4 * 32 * 1024 * 1024)
    writer = await hold(gateway, b"a", CHUNKED)
    await eventually(lambda: is_refused(gateway, b"a"), what="the body is held")
    writer.transport.abort()


async def test_a_body_is_held_until_its_answer_begins(gateways: Gateways) -> None:
    gateway = await gateways.start(long_body_bytes=4 * len(LONG_BODY))
    released = asyncio.Event()

    async def later(request: Request, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        await answer(JSON_ANSWER)(request, writer)

    gateway.engine.script = later
    first = asyncio.create_task(answers(gateway, "a"))
    await eventually(lambda: bool(gateway.engine.requests), what="the engine has the body")
    await eventually(lambda: is_refused(gateway, b"a"), what="the body is held")
    released.set()
    assert 200 == await first
    assert 200 == await answers(gateway, "a")


async def test_without_limits_nothing_is_refused(gateways: Gateways) -> None:
    gateway = await gateways.start(failures_per_second=0, long_body_bytes=0)
    gateway.admission.script = check_key
    assert [401] * 30 == await statuses(gateway, 30)
    assert [200] * 8 == await asyncio.gather(*(answers(gateway, "good") for _ in range(8)))


async def connection(gateway: Gateway, *, has_request: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection, and keep it open after a request or before the first byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.envoy.port)
    if has_request:
        writer.write(LIVE)
        assert b"ok\n" in await asyncio.wait_for(reader.readuntil(b"ok\n"), 30)
    return reader, writer


async def has_closed_the_first(gateway: Gateway) -> bool:
    """Whether Envoy has noticed the end of the connection by which its start was awaited."""
    return 1 == await gateway.stat("listener[.]127.*downstream_listener_filter_remote_close")


@pytest.mark.parametrize("has_request", [False, True], ids=["before-the-first-byte", "after-a-request"])
async def test_connections_beyond_the_limit_of_an_address_are_closed(gateways: Gateways, has_request: bool) -> None:
    gateway = await gateways.start(connections_per_address=3)
    await eventually(lambda: has_closed_the_first(gateway), what="no connection")
    held = [await connection(gateway, has_request=has_request) for _ in range(3)]
    reader, writer = await connection(gateway, has_request=False)
    with suppress(ConnectionError):
        assert b"" == await asyncio.wait_for(reader.read(), 5)  # before the first byte's timeout
    writer.close()
    assert 1 <= await gateway.stat(".*connections_rejected")
    for _, each in held:
        each.transport.abort()

    async def passes() -> bool:
        with suppress(httpx.TransportError):
            return 200 == (await gateway.client.get("/livez")).status_code
        return False

    await eventually(passes, within_seconds=20, what="connections pass again")


async def test_behind_proxies_connections_have_no_limit(gateways: Gateways) -> None:
    gateway = await gateways.start(connections_per_address=1, trusted_hops=1)
    for _, writer in [await connection(gateway, has_request=True) for _ in range(3)]:
        writer.transport.abort()


async def test_many_connections_at_once_are_accepted_in_small_groups(gateway: Gateway) -> None:
    """A worker that accepts hundreds does nothing else meanwhile."""
    gateway.envoy.process.send_signal(signal.SIGSTOP)
    held = [await asyncio.open_connection("127.0.0.1", gateway.envoy.port) for _ in range(100)]
    for _, writer in held:
        writer.write(LIVE)
    gateway.envoy.process.send_signal(signal.SIGCONT)
    for reader, writer in held:
        assert b"ok\n" in await asyncio.wait_for(reader.readuntil(b"ok\n"), 30)
        writer.transport.abort()
    most: float | None = None

    async def counted() -> bool:
        nonlocal most
        most = await _largest(gateway, "connections_accepted_per_socket_event")
        return most is not None

    await eventually(counted, within_seconds=30, what="Envoy has summed up its histograms")
    assert listeners.ACCEPTED_AT_ONCE == int(most or 0)  # its values have a few percent of error: 32.75


async def _largest(gateway: Gateway, histogram: str) -> float | None:
    """Return the largest value of the listener's histogram; None before Envoy has summed it up, every 5 s."""
    wanted = {"filter": f"^listener.127.*{histogram}$", "format": "json"}
    async with httpx.AsyncClient(timeout=60) as admin:
        found = (await admin.get(f"http://127.0.0.1:{gateway.admin_port}/stats", params=wanted)).json()["stats"]
    for each in found:
        for quantiles in each["histograms"]["computed_quantiles"]:
            largest: float | None = quantiles["values"][-1]["cumulative"]
            return largest
    return None
