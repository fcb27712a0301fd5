"""Fakes LeaderWorkerSet's controller, the garbage collector and kubelet on a bare API server: pods come, run and go.

It replaces outdated replicas from the highest number down, one at a time, as LeaderWorkerSet does without surge.
"""

import asyncio
import contextlib
import hashlib
import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime

from arks.app_deployer.adapters.kubernetes.children import LEADER_WORKER_SET
from arks.kit.cache import Cache
from arks.kit.errors import Conflict, Invalid, NotFound
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.informer import Informer
from arks.kit.kube.kinds import EVENT, POD
from arks.kit.types import Json

SET_NAME = "leaderworkerset.sigs.k8s.io/name"
_GROUP = "leaderworkerset.sigs.k8s.io/group-index"
_WORKER = "leaderworkerset.sigs.k8s.io/worker-index"
_HASH = "leaderworkerset.sigs.k8s.io/template-revision-hash"
RESTART_SECONDS = 0.2

Fate = Callable[[Json], Json | None]
"""A pod -> the status that it stays in; None: it becomes ready."""


class Cluster:
    def __init__(self, api: KubeApi, address: str = "") -> None:
        """`address`: of all pods; empty: each has one of its own, at which nothing listens."""
        self._fixed_address = address
        self.fate: Fate = lambda _: None
        self.drained = asyncio.Event()
        """While it is not set, terminating pods do not end."""
        self.drained.set()
        self.refusal = ""
        """Why no further pod is made, as by a quota."""
        self._api = api
        self._sets: Cache[Json] = Cache()
        self._pods: Cache[Json] = Cache()
        self._numbers = itertools.count(1)
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._ending: set[str] = set()
        self._started: set[str] = set()
        """Pods that have a status: the watch shows own writes late."""

    async def start(self) -> None:
        for kind, cache, labels in ((LEADER_WORKER_SET, self._sets, ""), (POD, self._pods, SET_NAME)):
            cache.subscribe(lambda _: self._wake.set())
            informer = Informer(self._api, kind, lambda obj: obj, cache, labels=labels)
            self._tasks.append(asyncio.create_task(informer.run()))
            await cache.synced.wait()
        self._tasks.append(asyncio.create_task(self._run()))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def pods(self) -> list[str]:
        return sorted(key.name for key, _ in self._pods.items())

    def pod(self, name: str) -> Json | None:
        return self._pods.get(Key("default", name))

    async def end(self, name: str, status: int = 1, message: str = "the last words") -> None:
        """The container of a pod ends; it runs again after RESTART_SECONDS."""
        pod = await self._api.get(POD, Key("default", name))
        if pod is None:
            raise NotFound(name)
        ended = {"terminated": {"exitCode": status, "reason": "Error", "message": message}}
        await self._status(pod, running(pod, ready=False, state=ended))
        self._tasks.append(asyncio.create_task(self._restart(pod, ended)))

    async def warn(self, kind: str, name: str, reason: str, message: str, uid: str = "") -> None:
        """Write a Kubernetes Event, once for each object and reason."""
        about = {"kind": kind, "name": name, "namespace": "default", "uid": uid}
        event_name = f"{name}.{reason}".lower()
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": event_name, "namespace": "default"},
            "involvedObject": about,
            "type": "Warning",
            "reason": reason,
            "message": message,
            "lastTimestamp": at,
        }
        with contextlib.suppress(Conflict):
            await self._api.create(EVENT, body)

    async def _restart(self, pod: Json, ended: Json) -> None:
        await asyncio.sleep(RESTART_SECONDS)
        restarts = pod["status"]["containerStatuses"][0]["restartCount"] + 1
        again = running(pod, ready=True, restarts=restarts)
        again["containerStatuses"][0]["lastState"] = ended
        await self._status(pod, again)

    # --- controllers

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            for step in (self._collect, self._groups, self._kubelet):
                with contextlib.suppress(NotFound, Conflict):
                    await step()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self._wake.wait()

    async def _collect(self) -> None:
        owners = {obj["metadata"]["uid"] for obj in self._sets.values()}
        for key, pod in self._pods.items():
            if pod["metadata"]["ownerReferences"][0]["uid"] not in owners:
                await self._delete(key, pod)

    async def _groups(self) -> None:
        for key, leader_worker_set in self._sets.items():
            own_pods = {
                name.name: pod
                for name, pod in self._pods.items()
                if pod["metadata"]["labels"][SET_NAME] == key.name and name.namespace == key.namespace
            }
            await self._reconcile_set(key, leader_worker_set, own_pods)

    async def _reconcile_set(self, key: Key, desired: Json, own_pods: dict[str, Json]) -> None:
        revision = _digest(desired["spec"]["leaderWorkerTemplate"])
        size = desired["spec"]["leaderWorkerTemplate"]["size"]
        names = [f"{key.name}-{index}" for index in range(desired["spec"]["replicas"])]
        for name, pod in own_pods.items():
            if pod["metadata"]["annotations"]["leader"] not in names:
                await self._delete(Key(key.namespace, name), pod)
        outdated = [
            name for name in names if name in own_pods and own_pods[name]["metadata"]["labels"][_HASH] != revision
        ]
        steady = all(name in own_pods and _is_ready(own_pods[name]) for name in names)
        if outdated and (steady or len(names) == 1 or not _is_ready(own_pods[outdated[-1]])):
            await self._delete(Key(key.namespace, outdated[-1]), own_pods[outdated[-1]])
        for index, name in enumerate(names):
            for number in range(size):
                pod_name = name if number == 0 else f"{name}-{number}"
                if pod_name not in own_pods:
                    await self._create(key, desired, pod_name, (index, number, revision))

    async def _create(self, key: Key, owner: Json, name: str, position: tuple[int, int, str]) -> None:
        if self.refusal:
            await self.warn("StatefulSet", key.name, "FailedCreate", self.refusal)
            return
        index, number, revision = position
        template = owner["spec"]["leaderWorkerTemplate"]["workerTemplate" if number else "leaderTemplate"]
        labels = {SET_NAME: key.name, _GROUP: str(index), _WORKER: str(number), _HASH: revision}
        metadata = template["metadata"]
        uid = owner["metadata"]["uid"]
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": key.namespace,
                "labels": {**metadata["labels"], **labels},
                "annotations": {**metadata.get("annotations", {}), "leader": f"{key.name}-{index}"},
                "ownerReferences": [
                    {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": key.name, "uid": uid}
                ],
            },
            "spec": {**template["spec"], "nodeName": "node"},
        }
        try:
            made = await self._api.create(POD, body)
        except Invalid as error:  # by a quota
            await self.warn("StatefulSet", key.name, "FailedCreate", str(error))
            return
        self._pods.apply(Key(key.namespace, name), made)  # or it would be created twice, because the watch is late

    async def _kubelet(self) -> None:
        for key, pod in self._pods.items():
            uid = pod["metadata"]["uid"]
            if "deletionTimestamp" in pod["metadata"]:
                if uid not in self._ending:
                    self._ending.add(uid)
                    self._tasks.append(asyncio.create_task(self._finish(key)))
            elif uid not in self._started:
                await self._status(pod, self.fate(pod) or running(pod, ready=True, ip=self._address()))
                self._started.add(uid)

    async def _finish(self, key: Key) -> None:
        await self.drained.wait()
        await self._api.delete(POD, key, grace_seconds=0)

    def _address(self) -> str:
        if self._fixed_address:
            return self._fixed_address
        number = next(self._numbers)
        return f"10.1.{number // 250}.{number % 250 + 1}"

    async def _delete(self, key: Key, pod: Json) -> None:
        if "deletionTimestamp" not in pod["metadata"]:
            await self._api.delete(POD, key)

    async def _status(self, pod: Json, status: Json) -> None:
        key = Key(pod["metadata"]["namespace"], pod["metadata"]["name"])
        await self._api.merge(POD, key, {"status": status}, subresource="status")


def running(pod: Json, *, ready: bool, ip: str = "", restarts: int | None = None, state: Json | None = None) -> Json:
    container = pod["spec"]["containers"][0]
    known = pod.get("status", {})
    before = known.get("containerStatuses", [{}])[0].get("restartCount", 0)
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "phase": "Running",
        "podIP": ip or known.get("podIP"),
        "conditions": [
            {"type": name, "status": str(status), "lastTransitionTime": now}
            for name, status in (("PodScheduled", True), ("PodReadyToStartContainers", True), ("Ready", ready))
        ],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": ready,
                "restartCount": before if restarts is None else restarts,
                "state": state or {"running": {"startedAt": now}},
            }
        ],
    }


def _is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]
