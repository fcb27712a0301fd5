"""A cluster without containers, for tests: a real API server, real controllers and scheduler, one node of ours.

Pvcs are bound, Jobs make pods, pods are scheduled and owned objects collected by Kubernetes' own programs. Only the
kubelet is ours: it runs the command of a pod's container as a process of this machine, with PVC's directory where
/models would be, and serves its log, which the API server fetches as from any node.
"""

import asyncio
import contextlib
import os
import shutil
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from arks.kit.errors import ArksError, NotFound
from arks.kit.key import Key
from arks.kit.kube.api import POD, Gone, Kind, KubeApi, key_of_object
from arks.kit.kube.secrets import KubeSecrets
from arks.kit.process import end, spawn
from arks.kit.testing.kubernetes import ApiServer, api_server, kube_binaries
from arks.model_manager.adapters.kubernetes.manifests import CONTAINER, MOUNT_PATH, RESULT_FILE
from arks.model_manager.adapters.kubernetes.objects import PVC

Json = dict[str, Any]

NODE = Kind("", "v1", "Node", "nodes", namespaced=False)
VOLUME = Kind("", "v1", "PersistentVolume", "persistentvolumes", namespaced=False)
CLASS = Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False)
WORKER_IMAGE = "arks/model-manager:test"
"""The only image that the node can pull."""
_CONTROLLERS = (
    *("job-controller", "garbage-collector-controller"),
    *("persistentvolume-binder-controller", "persistentvolumeclaim-protection-controller"),
)
_NODE_NAME = "paper"
_END_SECONDS = 3.0


@dataclass
class Cluster:
    server: ApiServer
    api: KubeApi
    """An administrator's."""
    kubelet: "Kubelet"


@dataclass
class _Running:
    task: asyncio.Task[None]
    lines: list[str] = field(default_factory=list)
    """Each behind its time."""
    ending: bool = False


class Kubelet:
    """Runs the pods of its node."""

    def __init__(self, cluster_api: KubeApi, directory: Path) -> None:
        self.images = {WORKER_IMAGE}
        self.memory_is_short = False
        """Containers end as if the kernel had killed them."""
        self.mounted: dict[Key, Path] = {}
        """Directories of the pvcs that pods had mounted."""
        self._api = cluster_api
        self._directory = directory
        self._pods: dict[str, _Running] = {}

    async def run(self) -> None:
        """All pods that are given to the node, until cancelled."""
        version = ""
        try:
            while True:
                try:
                    if not version:
                        found, version = await self._api.list(POD, None)
                        for pod in found:
                            self._see("ADDED", pod)
                    async for kind, pod in self._api.watch(POD, None, version):
                        version = pod["metadata"]["resourceVersion"]
                        if kind != "BOOKMARK":
                            self._see(kind, pod)
                except Gone:
                    version = ""
        finally:
            for running in self._pods.values():
                running.task.cancel()
            await asyncio.gather(*(running.task for running in self._pods.values()), return_exceptions=True)

    async def log(self, request: web.Request) -> web.Response:
        """As the API server asks for it."""
        name = request.match_info["pod"]
        for uid, running in self._pods.items():
            if uid.startswith(f"{request.match_info['namespace']}/{name}/"):
                lines = running.lines[-int(request.query.get("tailLines", "1000")) :]
                return web.Response(text="".join(f"{line}\n" for line in lines))
        raise web.HTTPNotFound

    def _see(self, kind: str, pod: Json) -> None:
        metadata = pod["metadata"]
        uid = f"{metadata['namespace']}/{metadata['name']}/{metadata['uid']}"
        known = self._pods.get(uid)
        if known is None and pod["spec"].get("nodeName") == _NODE_NAME and kind != "DELETED":
            known = self._pods[uid] = _Running(asyncio.create_task(asyncio.sleep(0)))
            known.task = asyncio.create_task(self._live(pod, known), name=f"pod {uid}")
        if known is None or known.ending or (kind != "DELETED" and "deletionTimestamp" not in metadata):
            return
        known.ending = True
        if known.task.done():
            known.task = asyncio.create_task(self._remove(pod), name=f"end of pod {uid}")
        else:
            known.task.cancel()

    async def _live(self, pod: Json, running: _Running) -> None:
        try:
            environment = await self._environment(pod)
            image = pod["spec"]["containers"][0]["image"]
            while image not in self.images:
                await self._waits(pod, "ErrImagePull", f'failed to pull image "{image}": not found')
                await asyncio.sleep(0.2)
            await self._work(pod, running, environment)
        except asyncio.CancelledError:
            await self._remove(pod)

    async def _environment(self, pod: Json) -> dict[str, str]:
        """Waits for secrets, as a kubelet does."""
        environment: dict[str, str] = {}
        for variable in pod["spec"]["containers"][0].get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference is None:
                environment[variable["name"]] = variable.get("value", "")
                continue
            key = Key(pod["metadata"]["namespace"], reference["name"])
            while reference["key"] not in (found := await KubeSecrets(self._api).read(key) or {}):
                await self._waits(pod, "CreateContainerConfigError", f'secret "{key.name}" not found')
                await asyncio.sleep(0.2)
            environment[variable["name"]] = found[reference["key"]].decode()
        return environment

    async def _work(self, pod: Json, running: _Running, environment: dict[str, str]) -> None:
        metadata, container = pod["metadata"], pod["spec"]["containers"][0]
        result = self._directory / f"{metadata['uid']}.result"
        directory = await self._mounted(pod)
        arguments = [argument.replace(RESULT_FILE, str(result)) for argument in container["args"]]
        environment["MODEL_PATH"] = environment["MODEL_PATH"].replace(MOUNT_PATH, str(directory), 1)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *container["command"][1:], *arguments),
            env={"PATH": os.environ["PATH"], **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        if self.memory_is_short:
            process.kill()
        try:
            await self._status(pod, "Running", {"running": {"startedAt": _now()}})
            if process.stdout is not None:
                async for line in process.stdout:
                    running.lines.append(f"{_now()} {line.decode().rstrip()}")
            status = await process.wait()
        finally:
            await end(process, grace_seconds=_END_SECONDS)
        message = result.read_text() if result.exists() else "\n".join(_words(running.lines))
        ended: Json = {"exitCode": status if status >= 0 else 128 - status, "finishedAt": _now()}
        ended["reason"] = "OOMKilled" if self.memory_is_short else "Error" if status else "Completed"
        ended["message"] = message.replace(str(directory), MOUNT_PATH)
        await self._status(pod, "Failed" if status else "Succeeded", {"terminated": ended})

    async def _mounted(self, pod: Json) -> Path:
        """The directory of the pod's pvc, which the scheduler has seen bound."""
        names = [volume.get("persistentVolumeClaim", {}).get("claimName") for volume in pod["spec"]["volumes"]]
        key = Key(pod["metadata"]["namespace"], next(name for name in names if name))
        pvc = await self._api.get(PVC, key)
        volume = await self._api.get(VOLUME, Key("", pvc["spec"]["volumeName"])) if pvc is not None else None
        if volume is None:
            raise NotFound(f"the volume of {key_of_object(pod)}")
        path = self.mounted[key] = Path(volume["spec"]["hostPath"]["path"])
        path.mkdir(parents=True, exist_ok=True)
        return path

    async def _waits(self, pod: Json, reason: str, message: str) -> None:
        await self._status(pod, "Pending", {"waiting": {"reason": reason, "message": message}})

    async def _status(self, pod: Json, phase: str, state: Json) -> None:
        container = pod["spec"]["containers"][0]
        statuses = [
            {
                "name": CONTAINER,
                "image": container["image"],
                "imageID": "",
                "restartCount": 0,
                "ready": "running" in state,
                "state": state,
            }
        ]
        status = {"phase": phase, "containerStatuses": statuses, "startTime": pod["metadata"]["creationTimestamp"]}
        with contextlib.suppress(NotFound):
            await self._api.merge(POD, key_of_object(pod), {"status": status}, subresource="status")

    async def _remove(self, pod: Json) -> None:
        """The pod's processes have ended: now it may go."""
        key = key_of_object(pod)
        found = await self._api.get(POD, key)
        if found is None or found["metadata"]["uid"] != pod["metadata"]["uid"]:
            return
        if found.get("status", {}).get("phase") == "Running":
            ended = {"exitCode": 143, "reason": "Error", "finishedAt": _now()}
            await self._status(pod, "Failed", {"terminated": ended})
        with contextlib.suppress(ArksError):
            await self._api.delete(POD, key, grace_seconds=0)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _words(lines: list[str]) -> list[str]:
    return [line.partition(" ")[2] for line in lines[-80:]]


@asynccontextmanager
async def cluster(directory: Path, definitions: Path) -> AsyncIterator[Cluster]:
    """Answers after some seconds. `definitions`: directory of custom resource definitions."""
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
        stack.push_async_callback(end, process, grace_seconds=_END_SECONDS)


async def _log_server(kubelet: Kubelet, directory: Path, stack: AsyncExitStack) -> int:
    """Port at which the API server finds logs. It asks for TLS and checks no name."""
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
    runner = web.AppRunner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    return int(runner.addresses[0][1])


async def _node(api: KubeApi, log_port: int) -> None:
    await api.create(NODE, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": _NODE_NAME, "namespace": ""}})
    room = {"cpu": "64", "memory": "64Gi", "pods": "500"}
    status = {
        "capacity": room,
        "allocatable": room,
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": log_port}},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Paper", "message": ""}],
    }
    await api.merge(NODE, Key("", _NODE_NAME), {"status": status}, subresource="status")
    # Nobody takes this taint away here: that is the work of a controller that also watches over the kubelet's lease.
    await api.merge(NODE, Key("", _NODE_NAME), {"spec": {"taints": []}})


async def _storage_class(api: KubeApi) -> None:
    made = {"metadata": {"name": "fast", "namespace": ""}, "provisioner": "kubernetes.io/host-path"}
    await api.create(CLASS, {"apiVersion": CLASS.api_version, "kind": CLASS.kind, **made})


async def _volumes_removed(api: KubeApi) -> None:
    """Their directories: nobody else does it when the cluster has gone."""
    for volume in (await api.list(VOLUME, None))[0]:
        shutil.rmtree(volume["spec"]["hostPath"]["path"], ignore_errors=True)


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Raises what ended it before."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
