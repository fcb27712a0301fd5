"""Spans of requests: Envoy sends them to a real OTLP receiver, and continues the trace of the client to the engine."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from arks.endpoint_router.adapters.envoy import TraceSettings
from arks.endpoint_router.testing.gateway import Gateway, Gateways
from arks.endpoint_router.testing.scripted import Request, stream
from arks.kit.testing.otlp import Collector, collector
from arks.kit.tracing import traces_address

pytestmark = pytest.mark.real
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENT = "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{CLIENT}-01", f"00-{TRACE}-{CLIENT}-00"
STREAM = b'{"model":"m","messages":[{}],"stream":true}'
CHUNKS = (
    b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":3}}\n\n',
    b"data: [DONE]\n\n",
)


@pytest_asyncio.fixture
async def received() -> AsyncIterator[Collector]:
    async with collector() as found:
        yield found


async def start(gateways: Gateways, received: Collector, percent: float = 100, follow: bool = True) -> Gateway:
    gateway = await gateways.start(traces=TraceSettings(traces_address(received.url), percent, follow))
    gateway.engine.script = stream(CHUNKS)
    return gateway


async def post(gateway: Gateway, traceparent: str | None = None) -> Request:
    """Send a request; return what the engine received."""
    headers = {"authorization": "Bearer sk-secret", **({"traceparent": traceparent} if traceparent else {})}
    response = await gateway.post(STREAM, headers=headers)
    assert 200 == response.status_code
    return gateway.engine.requests[-1]


async def test_a_span_continues_the_trace_of_the_client_and_has_model_tokens_tenant_and_first_token(
    gateways: Gateways, received: Collector
) -> None:
    gateway = await start(gateways, received, percent=0)
    engine = await post(gateway, SAMPLED)
    span = await received.span("arks-gateway", "ingress")
    assert (TRACE, CLIENT) == (span.trace_id, span.parent_id)
    assert f"00-{TRACE}-{span.span_id}-01" == engine.headers["traceparent"]
    query = await received.span("arks-gateway", "async token-quota egress")
    assert span.span_id == query.parent_id
    assert f"00-{TRACE}-{query.span_id}-01" == gateway.queries()[-1].headers["traceparent"]
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": "11",
        "gen_ai.usage.output_tokens": "3",
        "arks.namespace": "default",
        "arks.token": "alice",
        "http.status_code": "200",
    }
    assert expected == {name: span.attributes.get(name) for name in expected}
    assert 0 <= float(span.attributes["gen_ai.response.time_to_first_chunk"]) <= span.seconds + 0.001
    assert "sk-secret" not in str(received.spans)


@pytest.mark.parametrize(
    ("percent", "follow", "given", "flag"),
    [
        (0, True, None, "00"),
        (100, True, UNSAMPLED, "00"),
        (100, False, UNSAMPLED, "01"),
        # Clients that are not followed cannot force a span
        (0, False, SAMPLED, "00"),
    ],
)
async def test_the_flag_of_the_client_or_the_percentage_decides_also_without_a_collector(
    percent: float, follow: bool, given: str | None, flag: str, gateways: Gateways
) -> None:
    gateway = await start(gateways, Collector("http://127.0.0.1:1"), percent, follow)
    found = (await post(gateway, given)).headers["traceparent"]
    assert found.endswith(f"-{flag}")
    assert given is None or found.startswith(f"00-{TRACE}-")


async def test_token_quota_continues_the_traces_that_envoy_samples_and_no_other(gateways: Gateways) -> None:
    gateway = await start(gateways, Collector("http://127.0.0.1:1"), percent=50)
    flags = [(await post(gateway)).headers["traceparent"][-2:] for _ in range(16)]
    assert {"00", "01"} == set(flags)
    assert flags == [query.headers["traceparent"][-2:] for query in gateway.queries()]


async def test_without_traces_the_header_of_the_client_passes_unchanged(gateway: Gateway) -> None:
    gateway.engine.script = stream(CHUNKS)
    assert SAMPLED == (await post(gateway, SAMPLED)).headers["traceparent"]
    assert "traceparent" not in (await post(gateway)).headers
    assert "traceparent" not in gateway.queries()[0].headers
