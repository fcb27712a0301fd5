"""A real Arks with llama.cpp keeps OpenAI's description of its API: a suite that was written elsewhere finds no answer
that does not conform.

ARKS_EXAMPLES sets how many inputs schemathesis makes for each path (nightly: 300).
"""

import asyncio
import json
import os
import sys
from collections import Counter
from pathlib import Path

import httpx
import openai
import pytest

from arks.app_deployer.testing.engine_server import engine_server
from arks.kit.testing.manifests import application, endpoint, token
from arks.kit.testing.wait import eventually
from arks.local.testing.harness import ArksHarness
from e2e.support.openai_description import EMBEDDER, MODEL, description
from e2e.support.stream_events import USAGE_WITH_CHOICES

pytestmark = [pytest.mark.real, pytest.mark.timeout(3600)]
EXAMPLES = os.environ.get("ARKS_EXAMPLES", "16")
CHECKS = (
    "stream_conformance,not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
)
"""Not `negative_data_rejection`: engines accept more than OpenAI; nor `positive_data_acceptance`: they do less."""
KEY = "sk-suite-0123456789"
CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def embedder(arks_up: ArksHarness) -> str:
    """A second engine, which makes embeddings of the demo's model. Returns a key for both models."""
    made = application(EMBEDDER, model=MODEL, servedModelName=EMBEDDER, runtimeCommonArgs=["--embeddings"])
    arks_up.apply(made, endpoint(EMBEDDER))
    arks_up.apply_token(token("suite", KEY, MODEL, EMBEDDER))
    arks_up.arks("wait", f"application/{EMBEDDER}", f"endpoint/{EMBEDDER}")
    return KEY


async def test_schemathesis_finds_no_answer_that_openais_description_forbids(
    arks_up: ArksHarness, embedder: str, tmp_path: Path
) -> None:
    (tmp_path / "openai.json").write_text(json.dumps(description()))
    statuses = tmp_path / "statuses"
    repeats = [] if "ARKS_EXAMPLES" in os.environ else ["--generation-deterministic"]
    finding = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).parent / "schemathesis"), "run", "openai.json", "--url", arks_up.url, "--no-color"),
        *("--header", f"Authorization: Bearer {embedder}", "--checks", CHECKS, "--phases", "fuzzing", *repeats),
        *("--max-examples", EXAMPLES, "--request-timeout", "120"),
        cwd=tmp_path,
        env=os.environ
        | {"SCHEMATHESIS_HOOKS": "e2e.support.description_hooks", "PYTHONPATH": str(CHECKOUT)}
        | {"ARKS_STATUSES": str(statuses)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await finding.communicate()
    assert 0 == finding.returncode, output.decode()
    answered = Counter(statuses.read_text().splitlines())
    kinds = ("/chat/completions 200", "/completions 200", "/embeddings 200")
    streams = ("/chat/completions 200 stream", "/completions 200 stream")
    assert {*kinds, *streams} <= answered.keys(), answered


async def test_embeddings_of_openais_client_are_the_numbers_that_the_engine_makes(
    arks_up: ArksHarness, embedder: str
) -> None:
    async with openai.AsyncOpenAI(base_url=arks_up.url, api_key=embedder, max_retries=0, timeout=120) as client:
        packed = await client.embeddings.create(model=EMBEDDER, input=["hello", "good bye"])  # as base64
        plain = await client.embeddings.create(model=EMBEDDER, input=["hello", "good bye"], encoding_format="float")
    assert [0, 1] == [each.index for each in packed.data]
    assert [576, 576] == [len(each.embedding) for each in packed.data]
    for found, wanted in zip(packed.data, plain.data, strict=True):
        assert pytest.approx(wanted.embedding, abs=1e-3) == found.embedding
    assert packed.usage == plain.usage
    assert 0 < packed.usage.prompt_tokens == packed.usage.total_tokens


async def test_usage_beside_the_last_choice_of_a_completion_s_stream_is_the_engine_s_own(tmp_path: Path) -> None:
    """What the suite lets pass, at the engine's own port. Once this fails, remove USAGE_WITH_CHOICES."""
    body = {"prompt": "hi", "max_tokens": 2, "stream": True, "stream_options": {"include_usage": True}}
    async with (
        engine_server(tmp_path) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as engine,
    ):

        async def healthy() -> bool:
            return (await engine.get("/health")).status_code == 200

        await eventually(healthy, what="the model", within_seconds=60)
        *_, last, done = (await engine.post(f"/v1{USAGE_WITH_CHOICES}", json=body)).text.strip().split("\n\n")
    event = json.loads(last.removeprefix("data: "))
    assert ("data: [DONE]", 2, 1) == (done, event["usage"]["completion_tokens"], len(event["choices"]))


async def test_no_option_of_the_suite_has_taken_a_slot_of_the_engine(arks_up: ArksHarness) -> None:
    """Runs after the suite in the same file: as many answers at once as the engine has slots."""
    body = {"model": "smollm2", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    headers = {"authorization": f"Bearer {arks_up.key}"}
    async with httpx.AsyncClient(timeout=120, headers=headers) as client:
        answers = await asyncio.gather(*(client.post(f"{arks_up.url}/chat/completions", json=body) for _ in range(4)))
    assert [200] * 4 == [answer.status_code for answer in answers]
