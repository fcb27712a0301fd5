"""Requests of one session, or with the same beginning of a prompt, reach the same replica of a real Envoy."""

import asyncio
import json
from collections import Counter

import pytest

from arks.endpoint_router.testing.gateway import Gateway, Gateways, grant
from arks.endpoint_router.testing.scripted import answer, silence
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real
SYSTEM = {"role": "system", "content": "Answer in verse."}


def chat(*contents: str, **fields: object) -> bytes:
    """Return a request whose messages are the user's and the assistant's in turn."""
    turns = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]
    return json.dumps({"model": "m", "messages": [SYSTEM, *turns], **fields}).encode()


async def start(gateways: Gateways, affinity: str = "1024,session-id", engines: int = 3) -> Gateway:
    gateway = await gateways.start(engines, load_limit_percent=125)
    gateway.admission.script = grant(x_arks_affinity=affinity)
    return gateway


async def replica(gateway: Gateway, body: bytes, **headers: str) -> int:
    """Send a request; return the number of the engine that got it."""
    before = [len(engine.requests) for engine in gateway.engines]
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await gateway.post(body, headers={"authorization": "Bearer sk-secret", **sent})
    assert 200 == response.status_code, response.text
    (found,) = (n for n, count in enumerate(before) if len(gateway.engines[n].requests) > count)
    assert "x-arks-affinity" not in gateway.engines[found].requests[-1].headers
    return found


async def test_a_conversation_stays_where_it_began_and_conversations_are_spread(gateways: Gateways) -> None:
    gateway = await start(gateways)
    found: Counter[int] = Counter()
    for number in range(12):
        first = await replica(gateway, chat(f"question {number}"))
        for turn in (1, 2):
            later = chat(f"question {number}", *("answer", "and then?") * turn)
            assert first == await replica(gateway, later)
        found[first] += 1
    for number in range(12, 60):  # with 12 alone, one of the three gets none in every 40th run
        found[await replica(gateway, chat(f"question {number}"))] += 1
    assert 3 == len(found), found


async def test_a_session_is_named_by_the_header_then_by_the_body_then_by_the_prompt(gateways: Gateways) -> None:
    gateway = await start(gateways)
    named = {await replica(gateway, chat(f"question {n}"), session_id="s1") for n in range(8)}
    cached = {await replica(gateway, chat(f"question {n}", prompt_cache_key="k1")) for n in range(8)}
    both = {await replica(gateway, chat(f"{n}", prompt_cache_key=f"k{n}"), session_id="s1") for n in range(8)}
    prompts = {await replica(gateway, chat(f"question {n}")) for n in range(8)}
    assert (1, 1, named) == (len(named), len(cached), both)
    assert 1 < len(prompts)


async def test_it_does_not_matter_where_in_a_body_a_session_or_a_prompt_is(gateways: Gateways) -> None:
    """Envoy has longer bodies in parts of 16 KiB."""
    gateway = await start(gateways)

    def padded(length: int, **fields: object) -> bytes:
        messages = {"messages": [SYSTEM, {"role": "user", "content": "question"}]}
        return json.dumps({"model": "m", "user": "u" * length, **messages, **fields}).encode()

    lengths = [0, *range(15_600, 16_400, 100), 2**20]
    assert 1 == len({await replica(gateway, padded(length)) for length in lengths})
    for number in range(4):
        assert 1 == len({await replica(gateway, padded(n, prompt_cache_key=f"k{number}")) for n in lengths})


async def test_sessions_of_two_tokens_with_one_name_are_apart(gateways: Gateways) -> None:
    gateway = await start(gateways)

    async def replicas(token: str) -> list[int]:
        granted = f"default/m/{token}/lease0000001/10/20"
        gateway.admission.script = grant(x_arks_affinity="0,session-id", x_arks_grant=granted)
        return [await replica(gateway, chat("hi"), session_id=f"s{n}") for n in range(8)]

    alice, bob = await replicas("alice"), await replicas("bob")
    assert (alice, False) == (await replicas("alice"), alice == bob)


async def test_a_session_moves_when_its_replica_is_busy_and_returns(gateways: Gateways) -> None:
    gateway = await start(gateways)
    number = await replica(gateway, chat("hi"), session_id="s1")
    own = gateway.engines[number]
    own.script = silence
    stuck = asyncio.create_task(gateway.post(chat("hi"), headers={"authorization": "Bearer x", "session-id": "s1"}))
    await eventually(lambda: len(own.requests) == 2, what="the replica is busy")
    others = [await replica(gateway, chat("hi"), session_id="s1") for _ in range(4)]
    assert (1, False) == (len(set(others)), number in others)
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)
    own.script = answer()

    async def returned() -> bool:
        return await replica(gateway, chat("hi"), session_id="s1") == number

    await eventually(returned, what="the session returns to the idle replica")


async def test_a_session_moves_when_its_replica_dies_without_an_error(gateways: Gateways) -> None:
    gateway = await start(gateways)
    own = await replica(gateway, chat("hi"), session_id="s1")
    await gateway.engines[own].stop()
    found = [await replica(gateway, chat("hi"), session_id="s1") for _ in range(6)]
    assert own not in found
    assert 1 == len(set(found[-3:]))  # ejected by then, so its next choice gets all


async def test_requests_without_a_key_are_spread_and_clients_cannot_choose_one(gateways: Gateways) -> None:
    gateway = await start(gateways)
    found: set[int] = set()

    async def all_found() -> bool:
        """The choice is by chance: each fixed number of requests misses a replica now and then."""
        found.add(await replica(gateway, chat("hi"), x_arks_affinity="00000000000000aa"))
        return {0, 1, 2} == found

    for affinity in ("", "x", "-1,a", "0"):
        gateway.admission.script = grant(x_arks_affinity=affinity)
        found.clear()
        await eventually(all_found, what="a request at each replica")
