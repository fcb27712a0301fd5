"""The quickstart of the overview: model, application, endpoint, token, quota, client."""

import json
import re
from typing import Any

import httpx
import openai
import pytest
from openai.types import CompletionUsage

from arks.kit.testing import manifests
from arks.kit.testing.wait import eventually
from e2e.support.clients import ClientOf
from e2e.support.cluster import Cluster
from e2e.support.hub import SharedHub
from e2e.support.quotas import used_tokens
from e2e.support.status import in_phase
from e2e.support.tenant import SMALL_MODEL, Tenant
from e2e.support.traffic import UsageTotals

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

KEY = "sk-test123456"
MANIFESTS = """
apiVersion: arks.ai/v1
kind: ArksModel
metadata: {name: smollm2}
spec:
  model: HuggingFaceTB/SmolLM2-135M-Instruct
  source:
    huggingface: {}
  storage:
    pvc:
      name: smollm2
      spec:
        accessModes: [ReadWriteOnce]
        resources: {requests: {storage: 1Gi}}
        storageClassName: local-path
---
apiVersion: arks.ai/v1
kind: ArksApplication
metadata: {name: app-smollm2}
spec:
  replicas: 1
  runtime: llamacpp
  model: {name: smollm2}
  runtimeCommonArgs: ["--parallel", "2", "--threads", "1"]
  instanceSpec:
    resources: {requests: {cpu: 100m, memory: 256Mi}}
---
apiVersion: arks.ai/v1
kind: ArksEndpoint
metadata: {name: smollm2}
spec: {defaultWeight: 5}
---
apiVersion: arks.ai/v1
kind: ArksQuota
metadata: {name: basic-quota}
spec:
  quotas:
    - {type: total, value: 100000}
---
apiVersion: arks.ai/v1
kind: ArksToken
metadata: {name: example-token}
spec:
  token: sk-test123456
  qos:
    - arksEndpoint: {name: smollm2}
      rateLimits: [{type: rpm, value: 100}, {type: tpm, value: 10000}]
      quota: {name: basic-quota}
"""
HELLO: Any = [{"role": "user", "content": "Hello, who are you?"}]


def table(printed: str) -> dict[str, dict[str, str]]:
    """Name of the object -> column -> cell that kubectl prints; cells begin where their header begins."""
    rows: dict[str, dict[str, str]] = {}
    for block in printed.strip().split("\n\n"):
        header, *lines = block.splitlines()
        headers = list(re.finditer(r"\S+(?: \S+)*", header))
        ends = [*(found.start() for found in headers[1:]), None]
        for line in lines:
            cells = [line[found.start() : end].strip() for found, end in zip(headers, ends, strict=True)]
            rows[cells[0]] = dict(zip([found[0] for found in headers[1:]], cells[1:], strict=True))
    return rows


async def test_the_quickstart_serves_an_openai_client_and_kubectl_prints_the_documented_tables(
    cluster: Cluster, gateway: str, client_of: ClientOf
) -> None:
    await cluster.kubectl("apply", "-f", "-", stdin=MANIFESTS)
    await cluster.until("arksmodel", "smollm2", in_phase("Ready"), within_seconds=240, what="Ready")
    await cluster.until("arksapplication", "app-smollm2", in_phase("Running"), within_seconds=240, what="Running")

    kinds = "arksapplication,arksendpoint,arksmodel,arksquota,arkstoken"
    printed = table(await cluster.kubectl("get", kinds, "-owide"))
    expected: dict[str, dict[str, str]] = {
        "arksapplication.arks.ai/app-smollm2": {
            "PHASE": "Running",
            "REPLICAS": "1",
            "READY": "1",
            "MODEL": "smollm2",
            "RUNTIME": "llamacpp",
        },
        "arksendpoint.arks.ai/smollm2": {"DEFAULT WEIGHT": "5"},
        "arksmodel.arks.ai/smollm2": {"MODEL": "HuggingFaceTB/SmolLM2-135M-Instruct", "PHASE": "Ready"},
        "arksquota.arks.ai/basic-quota": {"LIMIT": "100000"},
        "arkstoken.arks.ai/example-token": {"READY": "True"},
    }
    assert expected == {name: {column: row[column] for column in expected[name]} for name, row in printed.items()}
    pods = await cluster.all("pods", "arks.ai/application=app-smollm2")
    assert ["app-smollm2-0"] == [pod["metadata"]["name"] for pod in pods]

    quota = await cluster.get("arksquota", "basic-quota")
    assert quota is not None
    spent = used_tokens(quota)
    client = client_of(KEY)
    answer = await client.chat.completions.create(model="smollm2", messages=HELLO, max_tokens=16)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    spent += answer.usage.total_tokens

    chunks = [
        chunk
        async for chunk in await client.chat.completions.create(
            model="smollm2", messages=HELLO, max_tokens=16, stream=True, stream_options={"include_usage": True}
        )
    ]
    assert chunks[-1].usage is not None
    spent += chunks[-1].usage.total_tokens

    # As with curl in the overview, which sends the content type of a form by default.
    question = {"model": "smollm2", "messages": HELLO, "max_tokens": 16}
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/x-www-form-urlencoded"}
    async with httpx.AsyncClient(timeout=60) as curl:
        typed = await curl.post(f"{gateway}/v1/chat/completions", headers=headers, content=json.dumps(question))
    assert 200 == typed.status_code
    spent += typed.json()["usage"]["total_tokens"]

    with pytest.raises(openai.AuthenticationError):
        await client_of("sk-not-a-key").models.list()

    await cluster.until(
        "arksquota",
        "basic-quota",
        lambda quota: used_tokens(quota) == spent,
        within_seconds=120,
        what=f"{spent} tokens charged",
    )


async def until_answered(client: openai.AsyncOpenAI) -> CompletionUsage:
    """The usage of the first answer; the endpoint may not have the router yet."""

    async def answered() -> CompletionUsage | None:
        try:
            answer = await client.chat.completions.create(model="smollm2", messages=HELLO, max_tokens=1)
        except openai.APIStatusError:
            return None
        return answer.usage

    usage = await eventually(answered, within_seconds=60, what="an answer")
    assert usage is not None
    return usage


async def test_ark_with_prefill_and_decode_apart_answers_a_client_and_is_in_arks_usage(
    tenant: Tenant, hub: SharedHub, client_of: ClientOf
) -> None:
    """ark-engine as prefiller and decoder, behind openai-proxy."""
    space, engine = tenant.namespace, {"instanceSpec": {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}}}}
    slots = ["--parallel", "2", "--threads", "1"]
    apart = {
        "apiVersion": "arks.ai/v1",
        "kind": "ArksDisaggregatedApplication",
        "metadata": {"name": "apart", "namespace": space},
        "spec": {
            "runtime": "ark",
            "model": {"name": "smollm2"},
            "router": {},
            "prefill": {"runtimeCommonArgs": slots, **engine},
            "decode": {"runtimeCommonArgs": slots, **engine},
        },
    }
    await tenant.apply(
        manifests.model(
            "smollm2",
            repository=SMALL_MODEL,
            source={"huggingface": {}},
            storage=manifests.pvc("smollm2"),
            namespace=space,
        ),
        apart,
        manifests.endpoint("smollm2", space),
        manifests.token("key", tenant.key, "smollm2", namespace=space),
    )
    await tenant.until("arksdisaggregatedapplication", "apart", in_phase("Running"), within_seconds=240, what="Running")

    client, received = client_of(tenant.key), UsageTotals()
    received.add(await until_answered(client))
    same: dict[str, Any] = {"model": "smollm2", "messages": HELLO, "max_tokens": 16, "temperature": 0}
    answer = await client.chat.completions.create(**same)
    received.add(answer.usage)
    stream = await client.chat.completions.create(**same, stream=True, stream_options={"include_usage": True})
    *chunks, last = [chunk async for chunk in stream]
    received.add(last.usage)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text and text == answer.choices[0].message.content

    (router,) = await tenant.all("pods", "arks.ai/application=apart,arks.ai/disaggregation-role=router")
    script = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/metrics', timeout=5).read().decode())"
    page = await tenant.kubectl("exec", router["metadata"]["name"], "--", "python3", "-c", script)
    counts = {
        name: float(value)
        for name, value in re.findall(r"^ark_engine_(handed_over|fallback)_prompts_total (\S+)", page, re.MULTILINE)
    }
    assert {"handed_over": 3.0, "fallback": 0.0} == counts
    await tenant.until_charged(received, cut=0)
    prompt, completion = received.prompt_tokens, received.completion_tokens
    printed = f"{space},{received.requests},{prompt},{completion},{prompt + completion}"
    assert printed in (await tenant.arks("usage", "-n", space, "--by", "namespace", "--csv")).splitlines()
