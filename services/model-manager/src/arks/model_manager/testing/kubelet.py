"""A kubelet without containers, for tests.

It runs the command of a pod's container as a process of this machine, with the PVC's directory in place of /models, and
serves its log, which the API server fetches as from any node.
"""

import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from arks.kit.errors import ArksError, NotFound
from arks.kit.key import Key
from arks.kit.kube.api import Gone, KubeApi, key_of_object
from arks.kit.kube.kinds import POD, Kind
from arks.kit.kube.secrets import KubeSecrets
from arks.kit.process import end
from arks.kit.types import Json
from arks.model_manager.adapters.kubernetes.manifests import CONTAINER, MOUNT_PATH, RESULT_FILE
from arks.model_manager.adapters.kubernetes.objects import PVC

NODE_NAME = "paper"
VOLUME = Kind("", "v1", "PersistentVolume", "persistentvolumes", namespaced=False)
WORKER_IMAGE = "arks/model-manager:test"
"""The only image that the node can pull at first."""
END_SECONDS = 3.0


@dataclass
class _Running:
    task: asyncio.Task[None]
    lines: list[str] = field(default_factory=list)
    """Each begins with its time."""
    ending: bool = False


class Kubelet:
    """Runs the pods of the node `NODE_NAME`."""

    def __init__(self, cluster_api: KubeApi, directory: Path) -> None:
        self.images = {WORKER_IMAGE}
        self.memory_is_short = False
        """Containers end as if the kernel had killed them for memory."""
        self.mounted: dict[Key, Path] = {}
        """Directories of the PVCs that pods have mounted."""
        self._api = cluster_api
        self._directory = directory
        self._pods: dict[str, _Running] = {}

    async def run(self) -> None:
        """Run all pods of the node, until cancelled."""
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
        """Answer a request of the API server for a log."""
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
        if known is None and pod["spec"].get("nodeName") == NODE_NAME and kind != "DELETED":
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
        """The container's variables. Waits for Secrets, as a kubelet does."""
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
        arguments = [argument.replace(RESULT_FILE, str(result)) for argument in container.get("args", [])]
        arguments = [argument.replace(f"--store={MOUNT_PATH}", f"--store={directory}") for argument in arguments]
        for name, value in environment.items():
            if value.startswith(f"{MOUNT_PATH}/"):
                environment[name] = value.replace(MOUNT_PATH, str(directory), 1)
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
            await end(process, grace_seconds=END_SECONDS)
        message = result.read_text() if result.exists() else "\n".join(_words(running.lines))
        ended: Json = {"exitCode": status if status >= 0 else 128 - status, "finishedAt": _now()}
        ended["reason"] = "OOMKilled" if self.memory_is_short else "Error" if status else "Completed"
        ended["message"] = message.replace(str(directory), MOUNT_PATH)
        await self._status(pod, "Failed" if status else "Succeeded", {"terminated": ended})

    async def _mounted(self, pod: Json) -> Path:
        """The directory of the pod's PVC, which is bound: the scheduler waits for that."""
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
        started = {"startTime": pod["metadata"]["creationTimestamp"], "podIP": "127.0.0.1"}
        status = {"phase": phase, "containerStatuses": statuses, **started}
        with contextlib.suppress(NotFound):
            await self._api.merge(POD, key_of_object(pod), {"status": status}, subresource="status")

    async def _remove(self, pod: Json) -> None:
        """Remove a deleted pod whose processes have ended."""
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
