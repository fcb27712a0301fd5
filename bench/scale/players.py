"""Simulates a cluster's controllers and nodes: binds volumes, ends download workers, runs engines, all at once."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from itertools import count

from arks.app_deployer.adapters.kubernetes.children import LEADER_WORKER_SET
from arks.app_deployer.testing.fake_cluster import SET_NAME, running
from arks.kit.cache import Cache
from arks.kit.errors import Conflict
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.informer import Informer
from arks.kit.kube.kinds import POD, Kind
from arks.kit.reconcile import Controller
from arks.kit.types import Json
from arks.model_manager.adapters.kubernetes.manifests import CONTAINER
from arks.model_manager.adapters.kubernetes.objects import JOB, PVC
from arks.model_manager.domain.protocol import Found, Outcome, Report, outcome_to_json
from bench.scale.engine import address

_LOADED = Outcome(Report(10**6, 10**6, done=True), Found("", 10**6, 1, revision="0" * 40))


class Players:
    """Runs until cancelled, and processes every object once."""

    def __init__(self, api: KubeApi, engines: int) -> None:
        self._api = api
        self._addresses: Iterator[str] = (address(number % engines) for number in count())
        self._parts = [
            self._part(PVC, self._bind),
            self._part(JOB, self._load),
            self._part(LEADER_WORKER_SET, self._start),
        ]

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for informer, controller in self._parts:
                tasks.create_task(informer.run())
                tasks.create_task(controller.run())

    def _part(self, kind: Kind, play: Callable[[Json], Awaitable[None]]) -> tuple[Informer[Json], Controller]:
        cache: Cache[Json] = Cache()
        done: set[str] = set()

        async def once(key: Key) -> None:
            obj = cache.get(key)
            if obj is None or obj["metadata"]["uid"] in done:
                return
            await play(obj)
            done.add(obj["metadata"]["uid"])

        controller = Controller(f"player of {kind.plural}", once)
        cache.subscribe(controller.enqueue)
        return Informer(self._api, kind, lambda obj: obj, cache), controller

    async def _bind(self, claim: Json) -> None:
        key = Key(claim["metadata"]["namespace"], claim["metadata"]["name"])
        await self._api.merge(PVC, key, {"status": {"phase": "Bound"}}, subresource="status")

    async def _load(self, job: Json) -> None:
        """Creates the pod of a worker that ended at once and reports a complete model."""
        name, template = job["metadata"]["name"], job["spec"]["template"]
        labels = {**template["metadata"].get("labels", {}), "batch.kubernetes.io/job-name": name}
        pod = self._pod(job, f"{name}-0", labels, template)
        ended = {"exitCode": 0, "reason": "Completed", "finishedAt": _now(), "message": outcome_to_json(_LOADED)}
        container = {"name": CONTAINER, "image": "worker", "imageID": "", "restartCount": 0, "ready": False}
        statuses = [{**container, "state": {"terminated": ended}}]
        await self._run(pod, {"phase": "Succeeded", "containerStatuses": statuses})

    async def _start(self, group: Json) -> None:
        template, name = group["spec"]["leaderWorkerTemplate"]["leaderTemplate"], group["metadata"]["name"]
        labels = {**template["metadata"]["labels"], SET_NAME: name}
        pod = self._pod(group, f"{name}-0", labels, template)
        await self._run(pod, running(pod, ready=True, ip=next(self._addresses)))

    def _pod(self, owner: Json, name: str, labels: Json, template: Json) -> Json:
        metadata = owner["metadata"]
        reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": True}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": labels,
                "annotations": template["metadata"].get("annotations", {}),
                "ownerReferences": [{**reference, "name": metadata["name"], "uid": metadata["uid"]}],
            },
            "spec": template["spec"],
        }

    async def _run(self, pod: Json, status: Json) -> None:
        key = Key(pod["metadata"]["namespace"], pod["metadata"]["name"])
        with contextlib.suppress(Conflict):  # created by an earlier attempt
            await self._api.create(POD, pod)
        await self._api.merge(POD, key, {"status": status}, subresource="status")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
