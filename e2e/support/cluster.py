"""A whole cluster under test, through kubectl: what people do, and waits that watch instead of polling."""

import asyncio
import codecs
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from arks.kit.testing.kubernetes import kube_binaries
from arks.kit.testing.servers import program

Object = Mapping[str, Any]
_READ_BYTES = 64 * 1024
_LOG_LINES = 40
_ARKS_SECONDS = 60.0
_PROXY_SECONDS = 30.0
_WATCH_AGAIN_SECONDS = 0.2


class KubectlError(Exception):
    """kubectl's complaint."""


@dataclass(frozen=True)
class Cluster:
    kubeconfig: Path
    """An administrator's."""
    namespace: str = "default"

    def within(self, namespace: str) -> "Cluster":
        """The same cluster; commands that name no namespace mean this one."""
        return replace(self, namespace=namespace)

    async def kubectl(self, *arguments: str, stdin: str = "", within_seconds: float = 120.0) -> str:
        """What kubectl printed. Raises KubectlError, and TimeoutError."""
        process = await self._start(*arguments)
        try:
            async with asyncio.timeout(within_seconds):
                out, complaint = await process.communicate(stdin.encode())
        finally:
            await _kill(process)
        if process.returncode:
            raise KubectlError(complaint.decode().strip())
        return out.decode()

    async def arks(self, *arguments: str) -> str:
        """What `arks` printed for this cluster. Raises AssertionError with its complaint."""
        process = await asyncio.create_subprocess_exec(
            *(program("arks"), "--context", "-", *arguments),
            env=os.environ | {"KUBECONFIG": str(self.kubeconfig)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_ARKS_SECONDS):
                out, complaint = await process.communicate()
        finally:
            await _kill(process)
        assert process.returncode == 0, complaint.decode()
        return out.decode()

    async def apply(self, *objects: Object) -> None:
        await self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    async def get(self, kind: str, name: str) -> Object | None:
        """None when there is none of this name."""
        text = await self.kubectl("get", kind, name, "-o", "json", "--ignore-not-found")
        return _object(json.loads(text)) if text else None

    async def all(self, kind: str, selector: str = "") -> list[Object]:
        text = await self.kubectl("get", kind, "-o", "json", *(["--selector", selector] if selector else []))
        return [_object(item) for item in json.loads(text)["items"]]

    async def secret(self, name: str) -> dict[str, str]:
        """Its base64 values by key. Raises LookupError."""
        found = await self.get("secret", name)
        if found is None:
            raise LookupError(f"no secret {name} in {self.namespace}")
        return dict(found["data"])

    async def until(
        self,
        kind: str,
        name: str,
        condition: Callable[[Object], bool],
        *,
        within_seconds: float = 180.0,
        what: str = "condition",
    ) -> Object:
        """The object, once it exists and the condition holds. Raises AssertionError with its last status."""
        last: Object | None = None
        try:
            async with asyncio.timeout(within_seconds), aclosing(self.changes(kind, name)) as changes:
                async for type_, last in changes:
                    if type_ != "DELETED" and condition(last):
                        return last
        except TimeoutError:
            pass
        shown = "it does not exist" if last is None else json.dumps(last.get("status"), indent=1)
        raise AssertionError(f"{kind} {self.namespace}/{name}: {what} not within {within_seconds} s; {shown}")

    async def until_gone(self, kind: str, name: str, *, within_seconds: float = 180.0) -> None:
        wait = ("wait", "--for=delete", f"{kind}/{name}", f"--timeout={within_seconds:.0f}s")
        await self.kubectl(*wait, within_seconds=within_seconds + 10)

    async def rolled_out(self, *workloads: str, within_seconds: float = 240.0) -> None:
        """Return when all pods of deployment/x, statefulset/y are new and ready. Raises KubectlError."""
        for workload in workloads:
            wait = ("rollout", "status", workload, f"--timeout={within_seconds:.0f}s")
            try:
                await self.kubectl(*wait, within_seconds=within_seconds + 10)
            except KubectlError as error:
                unready = "; ".join(why for pod in await self.all("pods") if (why := _why_unready(pod)))
                raise KubectlError(
                    f"{self.namespace}: {workload}: {error}; {unready or 'all pods are ready'}"
                ) from None

    async def settled(self, *, within_seconds: float = 240.0) -> None:
        """Return when every Deployment and StatefulSet of the namespace is rolled out. Raises KubectlError."""
        workloads = [*await self.all("statefulsets"), *await self.all("deployments")]
        names = [f"{found['kind'].lower()}/{found['metadata']['name']}" for found in workloads]
        await self.rolled_out(*names, within_seconds=within_seconds)

    async def changes(self, kind: str, name: str) -> AsyncGenerator[tuple[str, Object], None]:
        """(ADDED, MODIFIED or DELETED, object), what exists first; without end, also when the API server was away."""
        only = ("--field-selector", f"metadata.name={name}")
        while True:
            process = await self._start("get", kind, *only, "--watch", "--output-watch-events", "-o", "json")
            try:
                assert process.stdout is not None
                async for event in _events(process.stdout):
                    yield event
            finally:
                await _kill(process)
            await asyncio.sleep(_WATCH_AGAIN_SECONDS)

    @asynccontextmanager
    async def api_server(self) -> AsyncIterator[str]:
        """URL of a proxy of the API server, for requests with headers of their own, which kubectl does not send."""
        process = await self._start("proxy", "--port=0")
        try:
            assert process.stdout is not None
            async with asyncio.timeout(_PROXY_SECONDS):
                line = await process.stdout.readline()
            yield f"http://{line.decode().split()[-1]}"
        finally:
            await _kill(process)

    async def node_address(self) -> str:
        """Where this machine reaches node ports."""
        (node, *_) = await self.all("nodes")
        return next(str(found["address"]) for found in node["status"]["addresses"] if found["type"] == "InternalIP")

    async def report(self) -> str:
        """The state for a report of a failure: all objects, and the logs of pods that are not ready."""
        parts = [
            await self._kubectl_output("get", "pods,jobs,persistentvolumeclaims,leaderworkersets", "-A", "-o", "wide"),
            await self._kubectl_output("get", "arks", "-A", "-o", "wide"),
            await self._kubectl_output(
                "get", "events", "-A", "--field-selector", "type!=Normal", "--sort-by", ".lastTimestamp"
            ),
        ]
        try:
            pods = json.loads(await self.kubectl("get", "pods", "-A", "-o", "json"))["items"]
        except (KubectlError, TimeoutError):
            pods = []  # the parts above name the reason
        for pod in pods:
            meta, status = pod["metadata"], pod.get("status", {})
            containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
            if status.get("phase") == "Succeeded":
                continue
            if (
                all(found["ready"] and not found["restartCount"] for found in containers)
                and "arks" not in meta["namespace"]
            ):
                continue
            logs = ("logs", meta["name"], "-n", meta["namespace"], "--all-containers", "--prefix")
            parts.append(await self._kubectl_output(*logs, f"--tail={_LOG_LINES}"))
        return "\n\n".join(parts)

    async def _kubectl_output(self, *arguments: str) -> str:
        try:
            return await self.kubectl(*arguments)
        except (KubectlError, TimeoutError) as error:
            return f"kubectl {' '.join(arguments)}: {error or 'timed out'}"

    async def _start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            str(kube_binaries() / "kubectl"),
            *("--namespace", self.namespace, *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
        )


def _why_unready(pod: Object) -> str:
    """One line: the state of each container that is not ready, and how the one before it ended. Empty if all are."""
    status = pod.get("status", {})
    if status.get("phase") == "Succeeded":
        return ""
    found = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    states = [
        f"{container['name']} {json.dumps(container['state'])} after {json.dumps(container.get('lastState', {}))}"
        for container in found
        if not container["ready"]
    ]
    if found and not states:
        return ""
    return f"{pod['metadata']['name']}: {', '.join(states) or json.dumps(status)}"


async def _events(stream: asyncio.StreamReader) -> AsyncIterator[tuple[str, Object]]:
    """kubectl writes one JSON document after the other, each over many lines."""
    characters, decoder, text = codecs.getincrementaldecoder("utf-8")(), json.JSONDecoder(), ""
    while block := await stream.read(_READ_BYTES):
        text += characters.decode(block)
        while text := text.lstrip():
            try:
                event, end = decoder.raw_decode(text)
            except json.JSONDecodeError:
                break
            text = text[end:]
            yield event["type"], _object(event["object"])


def _object(document: Any) -> Object:
    assert isinstance(document, dict)
    return document


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
