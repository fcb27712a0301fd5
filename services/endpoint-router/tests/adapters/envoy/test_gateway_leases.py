"""Leases through a real Envoy: requests without a query, renewals, confirmations, the starts file."""

import asyncio
import itertools
import re
from collections.abc import Iterator

import pytest

from arks.endpoint_router.testing.gateway import Gateway, Gateways, grant, leases, rejected
from arks.endpoint_router.testing.scripted import Request, Script, answer
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real

BODY = b'{"model":"m","max_tokens":7}'
PROMPT = len(BODY) // 4
LONG = "1000000,2000000000,2000000000,15000,512"


def confirming(ended: str = "-", status: int = 200, amount: str = LONG) -> Script:
    """Return a script that gives long leases, and confirms them or names what ended."""
    granting, confirmed = leases(amount), answer(b"", status, x_arks_life="life1", x_arks_ended=ended)

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        await (confirmed if request.path == "/v1/changes" else granting)(request, writer)

    return script


async def confirmed(gateway: Gateway, times: int) -> None:
    """Send requests until the gateway has queried what ended so many times more."""
    before = len(gateway.queries("/v1/changes"))

    async def queried() -> bool:
        assert 200 == (await gateway.post(BODY)).status_code
        return len(gateway.queries("/v1/changes")) >= before + times

    await eventually(queried, what=f"{times} confirmations")


async def small_lease(gateway: Gateway) -> Script:
    """Give the gateway a new lease for 32 requests, which is confirmed each second. Returns the script for it."""
    gateway.admission.script = confirming()
    await confirmed(gateway, 1)
    amount = "32,100000,100000,15000,512"
    gateway.admission.script = confirming("*", amount=amount)

    async def granted() -> bool:
        assert 200 == (await gateway.post(BODY)).status_code
        return any(line[0] == "L" and line[3] == "33" for line in gateway.starts())

    await eventually(granted, what="the new lease")
    gateway.admission.script = script = confirming(amount=amount)
    return script


@pytest.fixture
def leasing(gateway: Gateway) -> Gateway:
    gateway.admission.script = leases()
    return gateway


async def test_requests_use_the_lease_without_a_query(leasing: Gateway) -> None:
    responses = [await leasing.post(BODY) for _ in range(4)]
    assert [(200, "99")] * 4 == [
        (each.status_code, each.headers["x-ratelimit-remaining-requests"]) for each in responses
    ]
    assert (1, 4) == (len(leasing.queries()), len(leasing.engine.requests))
    lines = {line["request_id"]: line for line in await leasing.usage(4)}
    grants = [lines[each.headers["x-request-id"]]["grant"] for each in responses]
    assert ["default/m/alice/lease0000001/10/20", *[f"default/m/alice/lease0000001/{PROMPT}/7"] * 3] == grants


async def test_a_used_up_lease_is_followed_by_a_query_with_a_demand(leasing: Gateway) -> None:
    assert [200] * 5 == [(await leasing.post(BODY)).status_code for _ in range(5)]
    first, second = (query.headers["x-arks-demand"] for query in leasing.queries())
    assert "1,0,0" == first
    requests, prompt, completion = (int(number) for number in second.split(","))
    assert requests >= 6  # twice the lease
    assert prompt >= 2000
    assert completion >= 2000


async def test_prompts_are_reserved_by_what_engines_counted_for_the_same_key_and_model(gateway: Gateway) -> None:
    counted = b'{"choices":[],"usage":{"prompt_tokens":900,"completion_tokens":3,"total_tokens":903}}'
    gateway.admission.script, gateway.engine.script = leases("9,90000,1000,1000,512"), answer(counted)
    body = b'{"model":"m","prompt":"%s"}' % (b"x" * 975)
    assert 1000 == len(body)

    async def estimates(authorization: str, content: bytes) -> list[str]:
        for _ in range(2):
            await gateway.post(content, headers={"authorization": authorization})
        starts = [line for line in gateway.starts() if line[0] == "S"]
        return [gateway.queries()[-1].headers["x-arks-prompt-tokens"], starts[-1][3]]

    assert ["250", "900"] == await estimates("Bearer sk-secret", body)
    assert ["250", "900"] == await estimates("Bearer other", body)
    assert ["250", "900"] == await estimates("Bearer sk-secret", body.replace(b'"m"', b'"n"'))


async def test_a_lease_belongs_to_its_key_and_model(leasing: Gateway) -> None:
    await leasing.post(BODY)
    await leasing.post(BODY, headers={"authorization": "Bearer other"})
    await leasing.post(BODY.replace(b'"m"', b'"n"'))
    assert 3 == len(leasing.queries())


async def test_a_lease_is_not_used_after_its_end(leasing: Gateway) -> None:
    leasing.admission.script = leases("1000000,2000000000,2000000000,50,512")

    async def queried_again() -> bool:
        await leasing.post(BODY)
        return len(leasing.queries()) >= 2

    await eventually(queried_again, what="a second query")
    starts: Iterator[list[str]] = (line for line in leasing.starts() if line[0] == "S" and line[2] == "lease0000001")
    (end,) = (int(line[2]) for line in leasing.starts() if line[:2] == ["L", "lease0000001"])
    next(starts)  # the request that had to wait for the answer
    assert all(int(line[6]) < end for line in starts)


async def test_a_long_lease_is_used_while_it_is_confirmed_each_second(gateway: Gateway) -> None:
    gateway.admission.script = confirming()
    await confirmed(gateway, 1)  # the first answer is of another life than the none before

    async def queried_again() -> bool:
        assert 200 == (await gateway.post(BODY)).status_code
        return len(gateway.queries()) >= 2

    await eventually(queried_again, what="a second query")
    await confirmed(gateway, 2)
    assert 2 == len(gateway.queries())
    unknown, *later = [int(query.headers["x-arks-since"]) for query in gateway.queries("/v1/changes")]
    assert 2**31 - 1 == unknown
    assert all(700 <= since for since in later)
    assert ["-", "life1", "life1"] == [query.headers["x-arks-life"] for query in gateway.queries("/v1/changes")]


@pytest.mark.parametrize("ended", ["token:default/alice", "endpoint:default/m", "*"])
async def test_a_lease_that_has_ended_is_not_used(gateway: Gateway, ended: str) -> None:
    gateway.admission.script = confirming()
    await confirmed(gateway, 2)
    before = len(gateway.queries())
    gateway.admission.script = confirming(ended)
    await confirmed(gateway, 1)

    async def queried() -> bool:
        assert 200 == (await gateway.post(BODY)).status_code
        return len(gateway.queries()) > before

    await eventually(queried, what="a query")
    assert before + 1 == len(gateway.queries())


async def test_a_long_lease_that_is_not_confirmed_ends_after_a_second(gateway: Gateway) -> None:
    gateway.admission.script = confirming(status=503)
    await confirmed(gateway, 2)
    starts = [(line[2], int(line[6])) for line in gateway.starts() if line[0] == "S"]
    for lease in {lease for lease, _ in starts}:
        times = [at for other, at in starts if other == lease]
        assert times[-1] - times[0] <= 1000


async def test_no_request_waits_for_the_renewal_of_a_lease_that_is_nearly_used_up(gateway: Gateway) -> None:
    script = await small_lease(gateway)
    admission_continues, other = asyncio.Event(), "Bearer other"

    async def waits(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.headers.get("authorization") == other:
            await grant(x_arks_grant="default/m/bob/other/10/20", x_arks_lease=LONG)(request, writer)
            return
        if request.path == "/v1/admit":
            await admission_continues.wait()
        await script(request, writer)

    gateway.admission.script = waits
    assert 200 == (await gateway.post(BODY, headers={"authorization": other})).status_code
    before = len(gateway.queries())

    async def taken() -> int:
        """Return how many requests the present lease has admitted, besides the one of its query, after one more."""
        assert 200 == (await gateway.post(BODY)).status_code
        lines = gateway.starts()
        begins = max(at for at, line in enumerate(lines) if line[0] == "L" and line[1] != "other")
        return sum(line[0] == "S" and line[2] != "other" for line in lines[begins:]) - 1

    while await taken() < 31:  # more would wait for the answer, which is not there
        assert before + 1 >= len(gateway.queries())

    async def queried() -> bool:
        """Send another key's request, because a busy worker sends renewals with its next request."""
        assert 200 == (await gateway.post(BODY, headers={"authorization": other})).status_code
        return len(gateway.queries()) == before + 1

    await eventually(queried, what="a query")
    admission_continues.set()
    leases = sum(line[0] == "L" for line in gateway.starts())
    await eventually(lambda: sum(line[0] == "L" for line in gateway.starts()) == leases + 1, what="the next lease")
    (new,) = [line for line in gateway.starts() if line[0] == "L"][leases:]
    assert ["33", "100010", "100020"] == new[3:6]
    before = len(gateway.queries())
    for _ in range(31):  # one of the lease before
        assert 200 == (await gateway.post(BODY)).status_code
    assert before == len(gateway.queries())


async def test_no_request_waits_where_a_window_ends(gateway: Gateway) -> None:
    number = itertools.count()

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        """Give a lease that ends with its window, one for the next window, and no answer that a request waits for."""
        own = f"default/m/alice/lease{next(number)}/10/20"
        remaining = request.headers.get("x-arks-remaining")
        if remaining:
            begins = str(int(remaining) // 2)  # earlier than token-quota's, so that there is no time in between
            following = "64,100000,100000,15000,512"
            await grant(x_arks_grant=own, x_arks_lease=following, x_arks_begins=begins)(request, writer)
        elif own.endswith("/lease0/10/20"):
            await grant(x_arks_grant=own, x_arks_lease="100000,10000000,10000000,400,512")(request, writer)

    gateway.admission.script = script
    leases: set[str] = set()
    while "lease1" not in leases:
        assert 200 == (await asyncio.wait_for(gateway.post(BODY), 1.5)).status_code  # no answer takes 2 s
        leases = {line[2] for line in gateway.starts() if line[0] == "S"}
    (end,) = (int(line[2]) for line in gateway.starts() if line[:2] == ["L", "lease0"])
    (line,) = (line for line in gateway.starts() if line[:2] == ["L", "lease1"])
    assert ["65", "100010", "100020"] == line[3:6]
    assert 15_000 - 100 <= int(line[2]) - end <= 15_000
    first = next(int(line[6]) for line in gateway.starts() if line[0] == "S" and line[2] == "lease1")
    assert end <= first
    assert {"lease0", "lease1"} == leases
    assert 2 == len(gateway.queries())


async def test_renewals_of_several_keys_are_one_query(gateway: Gateway) -> None:
    number = itertools.count()

    def lease(request: dict[str, str], together: str) -> dict[str, str]:
        """A lease that is soon nearly used up."""
        token = request["authorization"].rpartition("-")[2]
        own = f"default/m/{token}/lease{next(number)}-{together}/10/20"
        return {"x-arks-cluster": "default/m", "x-arks-grant": own, "x-arks-lease": "16,1000000,1000000,1000,512"}

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.path == "/v1/leases":
            calls = [
                dict(line.split(": ", 1) for line in call.split("\n")) for call in request.body.decode().split("\n\n")
            ]
            granted = ["\n".join(["200", *map(": ".join, lease(call, "together").items())]) for call in calls]
            await answer("\n\n".join(granted).encode())(request, writer)
        else:
            headers = {name.replace("-", "_"): value for name, value in lease(request.headers, "alone").items()}
            await grant(**headers)(request, writer)

    gateway.admission.script = script

    async def used() -> bool:
        keys = [{"authorization": f"Bearer sk-{key}"} for key in range(16)]
        answers = await asyncio.gather(*(gateway.post(BODY, headers=key) for key in keys))
        assert {200} == {each.status_code for each in answers}
        return any(line[0] == "S" and line[2].endswith("-together") for line in gateway.starts())

    await eventually(used, what="a request by a lease of such a query")
    lines = [line for line in gateway.starts() if line[2 if line[0] == "S" else 1].endswith("-together")]
    assert "L" == lines[0][0]
    owners = {line[1]: line[6] for line in gateway.starts() if line[0] == "L"}
    await gateway.usage(lines=len([line for line in gateway.starts() if line[0] == "S"]))
    assert all(line[0] == "L" or line[2] in owners for line in gateway.starts())


async def test_requests_pass_with_a_token_quota_that_has_no_query_of_several_keys(gateway: Gateway) -> None:
    granting = leases("16,1000000,1000000,1000,512")

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        await (answer(b"", 404) if request.path == "/v1/leases" else granting)(request, writer)

    gateway.admission.script = script
    keys = [{"authorization": f"Bearer sk-{key}"} for key in range(16)]

    async def queried() -> bool:
        answers = await asyncio.gather(*(gateway.post(BODY, headers=key) for key in keys))
        assert {200} == {each.status_code for each in answers}
        return bool(gateway.queries("/v1/leases"))

    await eventually(queried, what="a query of several keys")
    for _ in range(20):
        assert await queried()


async def test_no_request_waits_for_the_confirmation_of_leases(gateway: Gateway) -> None:
    gateway.admission.script = confirming()
    await confirmed(gateway, 1)
    continues, before = asyncio.Event(), len(gateway.queries("/v1/changes"))

    async def waits(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.path == "/v1/changes":
            await continues.wait()
        await confirming()(request, writer)

    gateway.admission.script = waits

    async def queried() -> bool:
        assert 200 == (await asyncio.wait_for(gateway.post(BODY), 1.5)).status_code  # no answer takes 2 s
        return len(gateway.queries("/v1/changes")) > before

    await eventually(queried, what="a query of changes")
    continues.set()
    await confirmed(gateway, 1)


async def test_a_request_that_cannot_renew_near_a_limit_uses_the_lease(gateway: Gateway) -> None:
    granting = await small_lease(gateway)
    rejecting = rejected("1000,model")

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        await (rejecting if request.path == "/v1/admit" else granting)(request, writer)

    gateway.admission.script = script
    before = len(gateway.queries())

    async def is_rejected() -> bool:
        return (await gateway.post(BODY)).status_code == 429

    await eventually(is_rejected, what="a rejection")
    kinds = "".join(line[0] for line in gateway.starts())
    assert 33 == len(kinds.rpartition("L")[2])
    assert before < len(gateway.queries())


async def test_starts_are_in_the_file_before_the_engine_has_the_request(leasing: Gateway) -> None:
    seen: list[list[list[str]]] = []

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        seen.append(leasing.starts())
        await answer()(request, writer)

    leasing.engine.script = script
    ids = [(await leasing.post(BODY)).headers["x-request-id"] for _ in range(2)]
    lease, first, second = seen[1]
    assert [lease, first] == seen[0]
    end, at = int(lease[2]), int(first[6])
    assert 0 < end - at <= 1000
    assert ["L", "lease0000001", str(end), "4", "1010", "1020", "default/m/alice"] == lease
    assert ["S", ids[0], "lease0000001", "10", "20", "chat.completions", str(at)] == first
    assert ["S", ids[1], "lease0000001", str(PROMPT), "7", "chat.completions"] == second[:-1]


async def test_the_starts_file_is_opened_again_after_a_rename(leasing: Gateway) -> None:
    await leasing.post(BODY)
    rotated = leasing.starts_log.with_suffix(".1")
    leasing.starts_log.rename(rotated)

    async def written() -> bool:
        await leasing.post(BODY)
        return leasing.starts_log.exists()

    await eventually(written, what="a new file")
    text = rotated.read_text() + leasing.starts_log.read_text()
    assert len(leasing.engine.requests) == len(re.findall(r'^\["S"', text, re.MULTILINE))


async def test_a_request_whose_start_cannot_be_written_does_not_pass(gateways: Gateways) -> None:
    gateway = await gateways.start()
    gateway.admission.script = leases()
    gateway.starts_log.mkdir()
    response = await gateway.post(BODY)
    assert (503, "admission_unavailable") == (response.status_code, response.json()["error"]["code"])
    assert [] == gateway.engine.requests
    gateway.starts_log.rmdir()
    assert 200 == (await gateway.post(BODY)).status_code
    assert ["L", "S"] == [line[0] for line in gateway.starts()]  # not from the lease whose line was lost
    (line,) = await gateway.usage()
    assert "200" == line["status"]


async def test_an_admission_without_counters_has_no_lease(gateway: Gateway) -> None:
    gateway.admission.script = grant(x_arks_grant="default/m/alice/-/10/20")
    response = await gateway.post(BODY)
    (start,) = gateway.starts()
    assert ["S", response.headers["x-request-id"], "-", "10", "20", "chat.completions"] == start[:-2]
    assert "default/m/alice" == start[-1]
    (line,) = await gateway.usage()
    assert "default/m/alice/-/10/20" == line["grant"]


async def test_one_query_at_a_time_demands_more(gateway: Gateway) -> None:
    gateway.admission.script = leases("0,0,0,1000,512")
    for _ in range(2):
        await gateway.post(BODY)
    admission_continues = asyncio.Event()

    async def waits(request: Request, writer: asyncio.StreamWriter) -> None:
        await admission_continues.wait()
        await grant()(request, writer)

    gateway.admission.script = waits
    before = len(gateway.queries())
    requests = [asyncio.create_task(gateway.post(BODY)) for _ in range(5)]
    await eventually(lambda: len(gateway.queries()) == before + 5, what="five queries")
    admission_continues.set()
    assert {200} == {(await request).status_code for request in requests}
    assert 1 == sum(query.headers["x-arks-demand"] != "0,0,0" for query in gateway.queries()[before:])
