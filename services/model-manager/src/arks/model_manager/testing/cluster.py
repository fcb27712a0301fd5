"""A cluster without containers, for tests: a real API server, real controllers and scheduler, and one node.

Kubernetes' own programs bind PVCs, create the pods of Jobs, schedule them and collect owned objects; only the kubelet
is `arks.model_manager.testing.kubelet`.
"""

import asyncio
import contextlib
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry

from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import Kind
from arks.kit.process import end, spawn
from arks.kit.testing.kubernetes import ApiServer, api_server, kube_binaries
from arks.kit.testing.web import serving
from arks.model_manager.testing.kubelet import END_SECONDS, NODE_NAME, VOLUME, Kubelet

NODE = Kind("", "v1", "Node", "nodes", namespaced=False)
CLASS = Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False)
_CONTROLLERS = (
    *("job-controller", "garbage-collector-controller"),
    *("persistentvolume-binder-controller", "persistentvolumeclaim-protection-controller"),
    "persistentvolume-protection-controller",
)


@dataclass
class Cluster:
    server: ApiServer
    api: KubeApi
    """An administrator's."""
    kubelet: Kubelet


@asynccontextmanager
async def cluster(directory: Path, definitions: Path) -> AsyncIterator[Cluster]:
    """Starts within some seconds. `definitions`: directory of custom resource definitions."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(api_server(directory))
        for definition in sorted(definitions.glob("*.yaml")):
            await server.kubectl("apply", "--server-side", "-f", str(definition))
        await server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=90s")
        api = KubeApi("test", CollectorRegistry(), server.kubeconfig)
        await api.start()
        stack.push_async_callback(api.stop)
        await _controllers(server, stack)
        kubelet = Kubelet(api, directory)
        await _node(api, await _log_server(kubelet, directory, stack))
        running = asyncio.create_task(kubelet.run(), name="kubelet")
        stack.push_async_callback(_cancelled, running)
        await _storage_class(api)
        yield Cluster(server, api, kubelet)
        await _volumes_removed(api)


async def _controllers(server: ApiServer, stack: AsyncExitStack) -> None:
    common = ["--kubeconfig", str(server.kubeconfig), "--leader-elect=false", "--secure-port=0"]
    manager = [f"--controllers={','.join(_CONTROLLERS)}", "--pvclaimbinder-sync-period=1s"]
    manager += ["--enable-hostpath-provisioner", "--kube-api-qps=200", "--kube-api-burst=200"]
    for name, more in (("kube-controller-manager", manager), ("kube-scheduler", [])):
        command = [str(kube_binaries() / name), *common, *more]
        process = await spawn(command, log_file=server.directory / f"{name}.log")
        stack.push_async_callback(end, process, grace_seconds=END_SECONDS)


async def _log_server(kubelet: Kubelet, directory: Path, stack: AsyncExitStack) -> int:
    """Serve logs with TLS, which the API server requires without checking names. Returns the port."""
    key, certificate = directory / "kubelet.key", directory / "kubelet.crt"
    request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-subj", "/CN=paper", "-keyout", str(key), "-out", str(certificate)]
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec("openssl", *request, *files, stderr=quiet)
    await process.wait()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    app = web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", kubelet.log)
    return await stack.enter_async_context(serving(app, tls=context))


async def _node(api: KubeApi, log_port: int) -> None:
    await api.create(NODE, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE_NAME, "namespace": ""}})
    room = {"cpu": "64", "memory": "64Gi", "pods": "500"}
    status = {
        "capacity": room,
        "allocatable": room,
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": log_port}},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Paper", "message": ""}],
    }
    await api.merge(NODE, Key("", NODE_NAME), {"status": status}, subresource="status")
    # No controller that removes this taint runs here: it would also require the kubelet's lease.
    await api.merge(NODE, Key("", NODE_NAME), {"spec": {"taints": []}})


async def _storage_class(api: KubeApi) -> None:
    made = {"metadata": {"name": "fast", "namespace": ""}, "provisioner": "kubernetes.io/host-path"}
    await api.create(CLASS, {"apiVersion": CLASS.api_version, "kind": CLASS.kind, **made})


async def _volumes_removed(api: KubeApi) -> None:
    """Remove the directories of volumes, which no program does after the end of the cluster."""
    for volume in (await api.list(VOLUME, None))[0]:
        shutil.rmtree(volume["spec"]["hostPath"]["path"], ignore_errors=True)


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Cancel the task. Raises its error if it had one."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
