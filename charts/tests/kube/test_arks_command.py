"""The commands on a real API server, with a kubelet that forwards ports to servers of this test."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import pytest_asyncio
import yaml
from aiohttp import web
from prometheus_client import CollectorRegistry

from arks.contracts.api_key import hash_key
from arks.contracts.subjects import EVENTS_STREAM
from arks.events.v1.events_pb2 import ResourceEvent
from arks.kit.bus import Bus, to_json
from arks.kit.settings import Settings
from arks.kit.testing.kubernetes import ApiServer
from arks.kit.testing.servers import nats_server
from arks.kit.testing.web import serving
from arks.local.cli.main import kubectl, main
from arks.local.testing.kubelet import kubelet

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]
Cluster: TypeAlias = Any  # of conftest.py, which cannot be imported
CHARTS = Path(__file__).parents[2]
RELEASE, TENANT = "command-system", "team-command"
SECRETS = {"pepper": "pepper-of-the-test", "operator-token": "operator", "nats-token": "nats"}
USAGE = {
    "items": [{"namespace": TENANT, "requests": 3, "promptTokens": 5, "completionTokens": 7, "totalTokens": 12}],
    "bySource": {"engine": 12},
    "requestsInFlight": 0,
}


@dataclass(frozen=True)
class Result:
    code: int
    stdout: str
    stderr: str


def pod_of(component: str) -> dict[str, Any]:
    """The component's pod as its workload makes it, on the node of this test."""
    documents = yaml.safe_load_all((CHARTS / "tests/golden/default.yaml").read_text())
    name = f"arks-{component}"
    workload = next(
        item for item in documents if item["metadata"]["name"] == name and "template" in item.get("spec", {})
    )
    template = workload["spec"]["template"]
    metadata = {"name": name, "namespace": RELEASE, "labels": template["metadata"]["labels"]}
    mounted = {volume["name"] for volume in template["spec"].get("volumes", [])}
    spec = template["spec"] | {"nodeName": "here", "serviceAccountName": "default"}
    for container in (*spec["containers"], *spec.get("initContainers", [])):
        container["volumeMounts"] = [mount for mount in container.get("volumeMounts", []) if mount["name"] in mounted]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


READY_CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "Ready",
    "message": "",
    "lastTransitionTime": "2026-10-01T00:00:00Z",
}
READY = json.dumps({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}})


async def usage(request: web.Request) -> web.Response:
    if request.headers.get("Authorization") != f"Bearer {SECRETS['operator-token']}":
        return web.Response(status=401)
    return web.json_response(USAGE | {"query": dict(request.query)})


async def answer(request: web.Request) -> web.Response:
    body = await request.json()
    events = [{"choices": [{"delta": {"content": f"I am {body['model']}"}}]}]
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    return web.Response(text=text, content_type="text/event-stream")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def release(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServer]:
    """A tenant, and pods of the chart whose ports are those of servers of this test."""
    directory, server = tmp_path_factory.mktemp("release"), cluster.server
    api = web.Application()
    api.router.add_get("/v1/usage", usage)
    api.router.add_post("/v1/chat/completions", answer)
    async with nats_server(directory / "nats") as nats, serving(api) as http:
        await _publish_event(nats.port, directory)
        async with kubelet(directory / "kubelet", {4222: nats.port, 8090: http, 8080: http}) as port:
            pods = [pod_of(component) for component in ("nats", "token-quota", "gateway")]
            await _create(server, port, pods)
            yield server
    await server.kubectl("delete", "node", "here")
    await server.kubectl("delete", "namespace", RELEASE, TENANT, "--wait=false")


async def _create(server: ApiServer, kubelet_port: int, pods: list[dict[str, Any]]) -> None:
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet_port}},
    }
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "here"}, "status": status}
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (RELEASE, TENANT)]
    metadata = {"name": "arks-secrets", "namespace": RELEASE}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": SECRETS}
    listed = {"apiVersion": "v1", "kind": "List", "items": [node, *spaces, secret, *pods]}
    await server.kubectl("create", "-f", "-", stdin=json.dumps(listed))
    names = [pod["metadata"]["name"] for pod in pods]
    await server.kubectl("-n", RELEASE, "patch", "pod", *names, "--subresource=status", "--type=merge", "-p", READY)


async def _publish_event(port: int, directory: Path) -> None:
    settings = Settings.model_construct(nats_url=f"nats://127.0.0.1:{port}", state_dir=directory)
    bus = Bus("test", settings, CollectorRegistry())
    await bus.start()
    event = ResourceEvent(namespace=TENANT, name="qwen", kind="ArksModel", message="Model is ready", reason="Ready")
    await bus.jetstream.publish(f"arks.events.model.ready.{TENANT}.qwen", to_json(event), stream=EVENTS_STREAM)
    await bus.stop()


@pytest.fixture
def arks(
    release: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Coroutine[Any, Any, Result]]:
    """Runs the command in a thread, because it has an event loop of its own."""

    async def run(*arguments: str, kubeconfig: Path | None = None, entry: Callable[[], None] = main) -> Result:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig or release.kubeconfig))
        monkeypatch.setattr(sys, "argv", ["arks", "--arks-namespace", RELEASE, *arguments])

        def ended() -> int:
            with pytest.raises(SystemExit) as exit_:
                entry()
            return int(exit_.value.code or 0)

        code = await asyncio.to_thread(ended)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


Arks = Callable[..., Coroutine[Any, Any, Result]]


async def test_a_key_is_created_listed_rotated_and_revoked(arks: Arks, release: ApiServer) -> None:
    done = await arks("--context", "test", "token", "create", "ada", "-e", "qwen", "-n", TENANT)
    key = done.stdout.strip()
    stored = json.loads(await release.kubectl("-n", TENANT, "get", "arkstoken", "ada", "-o", "json"))
    assert (0, hash_key(SECRETS["pepper"].encode(), key)) == (done.code, stored["spec"]["tokenHash"])

    rotated = await arks("token", "rotate", "ada", "-n", TENANT, "--context", "test")
    revoked = await arks("--context=test", "token", "revoke", "ada", "-n", TENANT)
    stored = json.loads(await release.kubectl("-n", TENANT, "get", "arkstoken", "ada", "-o", "json"))
    assert (0, 0) == (rotated.code, revoked.code), rotated.stderr + revoked.stderr
    assert hash_key(SECRETS["pepper"].encode(), rotated.stdout.strip()) == stored["spec"]["tokenHash"]
    assert hash_key(SECRETS["pepper"].encode(), key) == stored["spec"]["previous"][0]["tokenHash"]
    assert stored["spec"]["disabled"]
    listed = await arks("get", "tokens", "-n", TENANT, entry=kubectl)
    assert ("ada", 0) == (listed.stdout.splitlines()[1].split()[0], listed.code)


async def test_events_usage_and_answers_come_through_the_api_server(arks: Arks, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-" + "a" * 40)
    events = await arks("--context", "-", "events", "-n", TENANT, "-o", "json")
    used = await arks("--context", "-", "usage", "--month", "2026-10", "--by", "namespace", "-o", "json")
    chat = await arks("--context", "-", "chat", "hello", "-m", "qwen", "--key-file", str(tmp_path / "key"))
    replicas = await arks("--context", "-", "top", "--once", "-A")
    assert "Model is ready" == json.loads(events.stdout)["data"]["message"], events.stderr
    period = {"since": "2026-10-01", "until": "2026-10-31", "group_by": "namespace"}
    assert USAGE | {"query": period} == json.loads(used.stdout), used.stderr
    assert ("I am qwen\n", 0) == (chat.stdout, chat.code), chat.stderr
    assert ("No replicas.", 0) == (replicas.stdout[:12], replicas.code), replicas.stderr


async def test_the_rights_are_those_of_the_person(arks: Arks, release: ApiServer) -> None:
    await release.kubectl("-n", TENANT, "create", "serviceaccount", "viewer")
    rule = ("--verb=get,list,watch", "--resource=arksmodels.arks.ai,arksapplications.arks.ai")
    await release.kubectl("-n", TENANT, "create", "role", "viewer", *rule)
    await release.kubectl(
        "-n", TENANT, "create", "rolebinding", "viewer", "--role=viewer", f"--serviceaccount={TENANT}:viewer"
    )
    kubeconfig = await release.kubeconfig_of("viewer", TENANT)
    seen = await arks("--context", "test", "get", "models,tokens", "-n", TENANT, kubeconfig=kubeconfig)
    refused = await arks("--context", "test", "get", "tokens", "-n", TENANT, kubeconfig=kubeconfig)
    usage_refused = await arks("--context", "test", "usage", kubeconfig=kubeconfig)
    assert (0, True) == (seen.code, "arkstokens" in seen.stderr), seen.stderr
    for result in (refused, usage_refused):
        assert (1, "") == (result.code, result.stdout)
        assert "is forbidden" in result.stderr
        assert "lists the rights" in result.stderr


async def test_changes_are_watched_and_awaited(arks: Arks, release: ApiServer) -> None:
    manifest = {
        "apiVersion": "arks.ai/v1",
        "kind": "ArksModel",
        "metadata": {"name": "qwen", "namespace": TENANT},
        "spec": {"model": "a/b"},
    }
    await release.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    waiting = asyncio.create_task(arks("--context", "test", "wait", "model", "qwen", "-n", TENANT, "--timeout", "60"))
    status = {"status": {"phase": "Ready", "observedGeneration": 1, "conditions": [READY_CONDITION]}}
    await release.kubectl(
        "-n", TENANT, "patch", "arksmodel", "qwen", "--subresource=status", "--type=merge", "-p", json.dumps(status)
    )
    done = await waiting
    assert (0, "arksmodel/qwen ready") == (done.code, done.stdout.splitlines()[-1]), done.stderr
    missing = await arks("--context", "test", "describe", "model", "qwem", "-n", TENANT)
    assert "did you mean qwen?" in missing.stderr
