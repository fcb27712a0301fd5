"""A namespace of a cluster with Arks, as its users work in it: serve a model, send requests, query usage."""

from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import httpx

from arks.contracts.gateway_token import OPERATOR_TOKEN_HEADER
from arks.kit.testing import manifests
from arks.kit.testing.wait import eventually
from e2e.support.cluster import Cluster, Object
from e2e.support.traffic import Traffic, UsageTotals

SYSTEM = "arks-system"
"""Namespace of the release."""
SMALL_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""What the tests' hub serves under this name is the real one."""
_READY_SECONDS = 300.0
_DELETED_SECONDS = 300.0
_KUBECTL_SECONDS = 0.5
"""Pause between two runs of kubectl that wait for something: each costs a tenth of a second of a processor."""


@dataclass(frozen=True)
class Tenant(Cluster):
    gateway_url: str = ""
    """Envoy's, as a client outside of the cluster has it, with /v1."""

    SMALL_ENGINE: ClassVar[dict[str, Any]] = {
        "runtimeCommonArgs": ["--parallel", "4", "--threads", "1"],
        "instanceSpec": {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}}},
    }

    @classmethod
    def of(cls, cluster: Cluster, namespace: str, gateway_url: str) -> "Tenant":
        return cls(cluster.kubeconfig, namespace, gateway_url)

    @asynccontextmanager
    async def created(self) -> AsyncIterator["Tenant"]:
        """The namespace exists until the end of the block, and then goes with all that is in it."""
        await self.kubectl("create", "namespace", self.namespace)
        try:
            yield self
        finally:
            # Applications first: a namespace looks for the end of its pods only every half of their grace period. The
            # end of pods is what other tests are about; here no test waits for their engines to be quiet.
            await self._delete("arks", "--all", "--wait=false")
            await self._delete("pods", "--all", "--force", "--grace-period=0")
            await self._delete("arks", "--all")
            await self._delete("namespace", self.namespace, "--ignore-not-found")

    async def _delete(self, *what: str) -> None:
        timeout = f"--timeout={_DELETED_SECONDS:.0f}s"
        await self.kubectl("delete", *what, timeout, within_seconds=_DELETED_SECONDS + 10)

    @property
    def key(self) -> str:
        """Of the token that `serve` makes."""
        return f"sk-{self.namespace}"

    async def serve(self, name: str, *, replicas: int = 1, **spec: Any) -> None:
        """A small model with PVC, application, endpoint and token; returns when all replicas are ready."""
        space, storage = self.namespace, manifests.pvc(name)
        hub: manifests.Document = {"huggingface": {}}
        await self.apply(
            manifests.model(name, repository=SMALL_MODEL, source=hub, storage=storage, namespace=space),
            manifests.application(name, model=name, replicas=replicas, namespace=space, **(self.SMALL_ENGINE | spec)),
            manifests.endpoint(name, space),
            manifests.token("key", self.key, name, namespace=space),
        )
        await self.replicas_ready(name, replicas)

    async def replicas_ready(self, application: str, replicas: int) -> Object:
        """The application, once so many replicas are there and all of them ready for its newest spec."""

        def all_ready(found: Object) -> bool:
            status = found.get("status", {})
            current = status.get("observedGeneration") == found["metadata"]["generation"]
            return bool(current and status.get("readyReplicas", 0) == status.get("replicas", 0) == replicas)

        limits: dict[str, Any] = {"within_seconds": _READY_SECONDS, "what": f"{replicas} replicas ready"}
        return await self.until("arksapplication", application, all_ready, **limits)

    async def until_event(self, kind: str, name: str, type_: str, reason: str, *, within_seconds: float = 120.0) -> str:
        """The message of such an Event, once `kubectl describe` has one to show. `type_`: Normal or Warning."""
        wanted = {"involvedObject.kind": kind, "involvedObject.name": name, "type": type_, "reason": reason}
        selector = ",".join(f"{field}={value}" for field, value in wanted.items())

        async def message() -> str:
            return await self.kubectl(
                "get", "events", "--field-selector", selector, "-o", "jsonpath={.items[*].message}"
            )

        what = f"an Event {reason} on {kind} {name}"
        return await eventually(message, within_seconds=within_seconds, every_seconds=_KUBECTL_SECONDS, what=what)

    def traffic(self, model: str, **options: Any) -> Traffic:
        return Traffic(self.gateway_url, self.key, model, **options)

    async def usage(self) -> dict[str, UsageTotals]:
        """What the ledger has for this namespace, by how it is known: engine, delivered, reservation.

        Returns when no request is in flight or still to be charged, and every lease is over (up to 15 s).
        """

        async def complete() -> dict[str, Any] | None:
            report = await self._usage_report()
            return report if not report["openReservations"] else None

        what = "all requests charged"
        report = await eventually(complete, within_seconds=120, every_seconds=_KUBECTL_SECONDS, what=what)
        assert report is not None
        return _by_source(report)

    async def until_charged(self, received: UsageTotals, cut: int) -> None:
        """Return when the ledger has this usage of the engine, and so many requests that are charged otherwise.

        This does not wait for leases to end, so a later charge would not be seen: call `usage` at the end.
        """

        async def charged() -> bool:
            usage = last["usage"] = _by_source(await self._usage_report())
            others = sum(totals.requests for source, totals in usage.items() if source != "engine")
            return received == usage.get("engine", UsageTotals()) and cut == others

        last: dict[str, Any] = {}
        try:
            await eventually(charged, within_seconds=120, every_seconds=_KUBECTL_SECONDS)
        except AssertionError:
            raise AssertionError(f"clients received {received} and {cut} cut answers; ledger: {last}") from None

    async def _usage_report(self) -> dict[str, Any]:
        secret = await self.within(SYSTEM).secret("arks-secrets")
        headers = {OPERATOR_TOKEN_HEADER: b64decode(secret["operator-token"]).decode()}
        path = f"/api/v1/namespaces/{SYSTEM}/services/arks-token-quota:8090/proxy/v1/usage"
        wanted = {"namespace": self.namespace, "group_by": "namespace"}
        async with self.api_server() as url, httpx.AsyncClient(trust_env=False, timeout=30) as client:
            answer = await client.get(url + path, params=wanted, headers=headers)
        return dict(answer.raise_for_status().json())


def _by_source(report: dict[str, Any]) -> dict[str, UsageTotals]:
    sources = report["items"][0]["bySource"] if report["items"] else {}
    return {
        name: UsageTotals(source["requests"], source["promptTokens"], source["completionTokens"])
        for name, source in sources.items()
    }
