"""One running Arks sends spans of every program to a real OTLP receiver, and ends without waiting for it."""

import asyncio
from pathlib import Path

import openai
import pytest

from arks.kit.testing.otlp import collector
from arks.kit.testing.wait import eventually
from arks.local.testing.harness import ArksHarness

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
PROGRAMS = (
    "app-deployer",
    "endpoint-router",
    "metrics",
    "model-manager",
    "token-quota",
    "usage-meter",
    "usage-shipper",
)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def chat(platform: ArksHarness) -> None:
    """One request of a client that has a trace."""
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    async with openai.AsyncOpenAI(base_url=platform.url, api_key=platform.key, max_retries=0, timeout=120) as client:
        messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]
        await client.chat.completions.create(model="smollm2", messages=messages, max_tokens=4, extra_headers=headers)


async def test_every_program_sends_its_spans(tmp_path: Path) -> None:
    async with collector() as received:
        platform = ArksHarness(tmp_path, {"ARKS_OTLP_ENDPOINT": received.url})
        await asyncio.to_thread(platform.up)
        try:
            await chat(platform)
            for program in PROGRAMS:
                assert not (await received.span(f"arks-{program}", "start")).failed
            request = await received.span("arks-gateway", "ingress", TRACE)
            assert "smollm2" == request.attributes["gen_ai.request.model"]
            admitted = await received.span("arks-token-quota", "admit")

            def queries() -> set[str]:
                return {span.span_id for span in received.spans if span.name == "async token-quota egress"}

            await eventually(lambda: admitted.parent_id in queries(), what="the gateway's span of the admission")
            assert (await received.span("arks-usage-meter", "settle")).attributes["arks.batches"]
            assert (
                "done" == (await received.span("arks-endpoint-router", "reconcile endpoints")).attributes["arks.result"]
            )
            await received.span("arks-app-deployer", "reconcile applications")
            await received.span("arks-model-manager", "reconcile models")
            assert platform.key not in str(received.spans)
        finally:
            await asyncio.to_thread(platform.down)
