"""Replicas of two nodes: the leader serves, the worker gets no traffic, and a killed worker restarts its group.

The launch command is vLLM's, but what it starts is replaced: its script that starts or joins the Ray cluster by a
simple one, and its server by llama.cpp. The worker answers every request wrongly.
"""

from typing import Any

import pytest

from e2e.support.cluster import Object
from e2e.support.tenant import Tenant
from e2e.support.traffic import CUT, OK

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
IMAGE = "arks/llamacpp:dev"
CLUSTER_SCRIPT = """
case "$1" in
leader) echo "leading a cluster of $2" ;;
worker) exec python3 /stand-in/wrong.py ;;
esac
"""
SERVER = """
import os, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
served = ["--model", given["--model"], "--alias", given["--served-model-name"], "--port", given["--port"]]
options = ["--host", "0.0.0.0", "--threads", "1", "--parallel", "4"]
os.execvp("python3", ["python3", "-m", "arks.app_deployer.programs.llamacpp", *served, *options])
"""
WRONG = """
import http.server, os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
class Wrong(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_error(418)
    do_GET = do_POST
http.server.ThreadingHTTPServer(("", 8080), Wrong).serve_forever()
"""
STAND_IN: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "stand-in"},
    "data": {"multi-node-serving.sh": CLUSTER_SCRIPT, "api_server.py": SERVER, "wrong.py": WRONG},
}
SPEC: dict[str, Any] = {
    "runtime": "vllm",
    "runtimeImage": IMAGE,
    "size": 2,
    "runtimeCommonArgs": [],
    "instanceSpec": {
        "env": [{"name": "PYTHONPATH", "value": "/stand-in/python:/opt/arks/source:/opt/arks/own:/opt/arks/common"}],
        "volumes": [{"name": "stand-in", "configMap": {"name": "stand-in"}}],
        "volumeMounts": [
            {"name": "stand-in", "mountPath": "/stand-in/wrong.py", "subPath": "wrong.py"},
            {
                "name": "stand-in",
                "mountPath": "/stand-in/python/vllm/entrypoints/openai/api_server.py",
                "subPath": "api_server.py",
            },
            {
                "name": "stand-in",
                "mountPath": "/vllm-workspace/examples/online_serving/multi-node-serving.sh",
                "subPath": "multi-node-serving.sh",
            },
        ],
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
    },
}


def uid(pod: Object | None) -> str:
    assert pod is not None
    return str(pod["metadata"]["uid"])


async def test_a_killed_worker_restarts_only_its_own_group(tenant: Tenant) -> None:
    await tenant.apply(STAND_IN)
    await tenant.serve("grouped", replicas=2, **SPEC)
    pods = [pod["metadata"]["name"] for pod in await tenant.all("pods", "arks.ai/application=grouped")]
    assert ["grouped-0", "grouped-0-1", "grouped-1", "grouped-1-1"] == sorted(pods)
    leader, other = uid(await tenant.get("pod", "grouped-0")), uid(await tenant.get("pod", "grouped-1"))
    async with tenant.traffic("grouped", connections=3).running() as traffic:
        await traffic.answers(50)
        assert [] == traffic.faults()
        await tenant.kubectl("delete", "pod", "grouped-0-1", "--wait=false")
        await tenant.until("pod", "grouped-0", lambda pod: uid(pod) != leader, what="another leader")
        await tenant.replicas_ready("grouped", 2)
        await traffic.answers()
    assert set(traffic.since()) <= {OK, CUT}, traffic.faults()
    assert other == uid(await tenant.get("pod", "grouped-1"))
