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
import pytest

from arks.local.testing.harness import ArksHarness
from e2e.support.openai_description import description

pytestmark = [pytest.mark.real, pytest.mark.timeout(3600)]
EXAMPLES = os.environ.get("ARKS_EXAMPLES", "12")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
"""Not `negative_data_rejection`: engines accept more than OpenAI; nor `positive_data_acceptance`: they do less."""
CHECKOUT = Path(__file__).parents[1]


async def test_schemathesis_finds_no_answer_that_openais_description_forbids(
    arks_up: ArksHarness, tmp_path: Path
) -> None:
    (tmp_path / "openai.json").write_text(json.dumps(description()))
    statuses = tmp_path / "statuses"
    repeats = [] if "ARKS_EXAMPLES" in os.environ else ["--generation-deterministic"]
    finding = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).parent / "schemathesis"), "run", "openai.json", "--url", arks_up.url, "--no-color"),
        *("--header", f"Authorization: Bearer {arks_up.key}", "--checks", CHECKS, "--phases", "fuzzing", *repeats),
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
    # The demo's model makes no embeddings, so these are refused.
    assert {f"{path} 200" for path in ("/chat/completions", "/completions")} <= answered.keys(), answered


async def test_no_option_of_the_suite_has_taken_a_slot_of_the_engine(arks_up: ArksHarness) -> None:
    """Runs after the suite in the same file: as many answers at once as the engine has slots."""
    body = {"model": "smollm2", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    headers = {"authorization": f"Bearer {arks_up.key}"}
    async with httpx.AsyncClient(timeout=120, headers=headers) as client:
        answers = await asyncio.gather(*(client.post(f"{arks_up.url}/chat/completions", json=body) for _ in range(4)))
    assert [200] * 4 == [answer.status_code for answer in answers]
