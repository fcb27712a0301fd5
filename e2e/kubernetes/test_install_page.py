"""docs/kubernetes.md from a bare cluster to a first answer: the page's commands run as they are.

Only what is outside of the cluster is replaced. Images are on the node under the names that the page's commands give
them, as if they had been pushed and pulled; `helm` finds the chart of LeaderWorkerSet on this machine; the hub of
models is that of the tests. Commands run in the node's network, where the page's local port is free.
"""

import asyncio
import json
import os
import re
import runpy
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from arks.kit.testing.helm import helm_program
from arks.kit.testing.kubernetes import kube_binaries
from arks.kit.testing.servers import small_model
from e2e.kubernetes.conftest import CHECKOUT, HUB, SCRIPTS, script
from e2e.support.cluster import Cluster
from e2e.support.hub import connected

pytestmark = [pytest.mark.e2e, pytest.mark.bare, pytest.mark.timeout(900)]
INSTALL = (CHECKOUT / "docs/kubernetes.md").read_text().partition("\n## Install\n")[2].partition("\n## ")[0]
COMMAND_SECONDS = 400.0
HELM = """#!/usr/bin/env bash
# Helm as on a machine with internet: the public chart of LeaderWorkerSet, and a hub that has models.
words=() public=
for word in "$@"; do
  case $word in
    oci://*/lws) public=yes ;;
    charts/arks) words+=("$word" --set "services.model-manager.settings.hub_endpoint=$HUB_URL") ;;
    *) words+=("$word") ;;
  esac
done
if [ "$public" ]; then exec "$SCRIPTS/lws.sh" "${words[@]:2}"; fi
exec "$HELM" "${words[@]}"
"""


def commands() -> list[str]:
    """The commands of the page's blocks under Install, in their order; one may span lines."""
    blocks = re.findall(r"^```\n(.*?)^```$", INSTALL, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in re.split(r"(?<!\\)\n", block) if line]


@pytest.fixture
def terminal(bare_cluster: Cluster, tmp_path: Path) -> "Terminal":
    helm = tmp_path / "helm"
    helm.write_text(HELM)
    helm.chmod(0o755)
    settings = {
        "PATH": f"{tmp_path}:{kube_binaries()}:{os.environ['PATH']}",
        "KUBECONFIG": str(bare_cluster.kubeconfig),
        "HELM": str(helm_program()),
        "HUB_URL": f"http://{HUB[0]}:{HUB[1]}",
        "SCRIPTS": str(SCRIPTS),
    }
    return Terminal(os.environ | settings)


class Terminal:
    """A shell in the checkout, in the node's network."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    async def run(self, command: str) -> str:
        """What the command prints. Raises AssertionError with its complaint, and TimeoutError."""
        async with self._started(command) as process, asyncio.timeout(COMMAND_SECONDS):
            out, complaint = await process.communicate()
        assert process.returncode == 0, f"{command}\n{out.decode()}\n{complaint.decode()}"
        return out.decode()

    @asynccontextmanager
    async def running(self, command: str, shows: str) -> AsyncIterator[None]:
        """The command runs until the end of the block; it has printed `shows` before."""
        async with self._started(command) as process:
            assert process.stdout is not None
            async with asyncio.timeout(COMMAND_SECONDS):
                while shows not in (line := (await process.stdout.readline()).decode()):
                    assert line, f"{command} ended"
            yield

    @asynccontextmanager
    async def _started(self, command: str) -> AsyncIterator[asyncio.subprocess.Process]:
        node = f"--net=/run/netns/{os.environ.get('NODE', 'arks-e2e')}"
        process = await asyncio.create_subprocess_exec(
            *(shutil.which("nsenter") or "nsenter", node, "bash", "-c", f"exec {command}"),
            cwd=CHECKOUT,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def pull_images(registry: str) -> None:
    """Give the node's images the names that the chart has by default, Arks' own those of this registry."""
    values = yaml.safe_load((CHECKOUT / "charts/arks/values.yaml").read_text())
    build = runpy.run_path(str(CHECKOUT / "deploy/images/build.py"))
    for service in (*build["SERVICES"], build["ENGINE_OF_LLAMA"]):
        script("name.sh", f"arks/{service}:dev", f"{registry}/{service}:{build['chart_version']()}")
    for name, server in {"envoy": "gateway", "nats": "nats", "valkey": "redis", "postgresql": "postgresql"}.items():
        image = values[server]["image"]
        script("name.sh", f"arks/{name}:dev", f"{image['repository']}:{image['tag']}")


async def test_the_commands_of_the_page_lead_from_a_bare_cluster_to_a_first_answer(
    terminal: Terminal, bare_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(CHECKOUT / "deploy/images"))
    push, *install, apply, wait, forward, call = commands()
    pull_images(push.removeprefix("make push REGISTRY="))
    (model, *_) = yaml.safe_load_all((CHECKOUT / "deploy/examples/quickstart.yaml").read_text())
    hub = connected(bare_cluster.kubeconfig.parent / "run/hub.sock")
    hub.add(model["spec"]["model"], {"config.json": b"{}", "model-q8_0.gguf": small_model().read_bytes()})

    for command in (*install, apply, wait):
        await terminal.run(command)
    async with terminal.running(forward, shows="Forwarding from"):
        answer = json.loads(await terminal.run(call))
    assert "quickstart" == answer["model"]
    assert answer["choices"][0]["message"]["content"]

    (remove,) = re.findall(r"`(kubectl delete [^`]*)`", INSTALL)
    await terminal.run(remove)
    assert "" == await bare_cluster.kubectl("get", "arks", "-A", "--output=name")
