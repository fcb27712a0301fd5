"""An API server with the objects of Arks' charts, the accounts of the services, and resources of many tenants."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry

from arks.app_deployer.testing.api_server import lws_api_server
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import Kind
from arks.kit.testing.kubernetes import ApiServer
from arks.kit.types import Json

SYSTEM = "arks-system"
NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
SECRET = Kind("", "v1", "Secret", "secrets")
ENDPOINT = Kind("arks.ai", "v1", "ArksEndpoint", "arksendpoints")
TOKEN = Kind("arks.ai", "v1", "ArksToken", "arkstokens")
QUOTA = Kind("arks.ai", "v1", "ArksQuota", "arksquotas")
MODEL = Kind("arks.ai", "v1", "ArksModel", "arksmodels")
APPLICATION = Kind("arks.ai", "v1", "ArksApplication", "arksapplications")
_CHARTS = Path(__file__).parents[2] / "charts"
_ACCOUNTS = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
_WRITERS = 16
TOKENS_EACH = 4


@dataclass(frozen=True)
class Tenant:
    """One served model with all its resources."""

    number: int
    namespaces: int

    @property
    def namespace(self) -> str:
        return f"team-{self.number % self.namespaces:02d}"

    @property
    def name(self) -> str:
        """Key of the model, the application, the endpoint and the quota."""
        return f"llm-{self.number:03d}"

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)

    def token(self, which: int) -> str:
        return f"user-{self.number:03d}-{which}"

    def secret_key(self, which: int) -> str:
        """The API key of a token."""
        return f"sk-bench-{self.number:04d}-{which}"

    def objects(self, secrets: bool) -> Iterator[tuple[Kind, Json]]:
        """All resources. `secrets`: half of the tokens refer to a Secret, the others contain their key."""
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        model = {
            "model": "acme/tiny",
            "source": {"huggingface": {}},
            "storage": {"pvc": {"name": self.name, "spec": claim}},
        }
        yield MODEL, self._object(MODEL, self.name, model)
        application = {"model": {"name": self.name}, "runtime": "vllm", "replicas": 1, "instanceSpec": {}}
        yield APPLICATION, self._object(APPLICATION, self.name, {**application, "servedModelName": self.name})
        yield ENDPOINT, self._object(ENDPOINT, self.name, {"defaultWeight": 10})
        yield QUOTA, self._object(QUOTA, self.name, {"quotas": [{"type": "total", "value": 10**9}]})
        for which in range(TOKENS_EACH):
            yield from self._token(which, in_secret=secrets and which % 2 == 1)

    def _token(self, which: int, *, in_secret: bool) -> Iterator[tuple[Kind, Json]]:
        name, key = self.token(which), self.secret_key(which)
        limits = [{"type": "rpm", "value": 10**6}, {"type": "tpd", "value": 10**9}]
        qos = [{"arksEndpoint": {"name": self.name}, "rateLimits": limits, "quota": {"name": self.name}}]
        if in_secret:
            metadata = {"name": name, "namespace": self.namespace}
            yield SECRET, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": key}}
        source = {"tokenSecretRef": {"name": name}} if in_secret else {"token": key}
        yield TOKEN, self._object(TOKEN, name, {**source, "qos": qos})

    def _object(self, kind: Kind, name: str, spec: Json) -> Json:
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}


@dataclass(frozen=True)
class Cluster:
    server: ApiServer
    api: KubeApi
    """Client with the rights of an administrator."""

    async def account(self, service: str, directory: Path) -> Path:
        """A directory with token and certificate, as in the file system of the service's pod.

        A kubeconfig lies there too.
        """
        directory.mkdir(parents=True, exist_ok=True)
        token = await self.server.kubectl("create", "token", f"arks-{service}", "-n", SYSTEM)
        (directory / "token").write_text(token.strip())
        (directory / "ca.crt").write_bytes(self.server.authority.read_bytes())
        (directory / "namespace").write_text(SYSTEM)
        config = yaml.safe_load(self.server.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token.strip()}
        (directory / "kubeconfig").write_text(yaml.safe_dump(config))
        return directory

    async def create(self, objects: Sequence[tuple[Kind, Json]]) -> None:
        """Creates the objects in this order, several at a time."""
        waiting = iter(objects)

        async def writer() -> None:
            for kind, body in waiting:
                await self.api.create(kind, body)

        async with asyncio.TaskGroup() as writers:
            for _ in range(_WRITERS):
                writers.create_task(writer())

    async def until(self, kind: Kind, number: int, condition: Callable[[Json], bool], within_seconds: float) -> None:
        """Waits until `number` objects meet the condition. Raises TimeoutError."""
        async with asyncio.timeout(within_seconds):
            while True:
                found = (await self.api.list(kind, None))[0]
                if sum(condition(resource) for resource in found) >= number:
                    return
                await asyncio.sleep(0.5)


@asynccontextmanager
async def cluster(directory: Path) -> AsyncIterator[Cluster]:
    async with lws_api_server(directory, audit=True) as server:
        for definition in sorted((_CHARTS / "arks-crds/templates").glob("*.yaml")):
            await server.kubectl("apply", "--server-side", "-f", str(definition))
        await server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        await server.kubectl("create", "namespace", SYSTEM)
        rendered = yaml.safe_load_all((_CHARTS / "tests/golden/default.yaml").read_text())
        accounts = [found for found in rendered if found and found["kind"] in _ACCOUNTS]
        await server.kubectl("apply", "-n", SYSTEM, "-f", "-", stdin=yaml.safe_dump_all(accounts))
        api = KubeApi("bench", CollectorRegistry(), server.kubeconfig)
        await api.start()
        try:
            yield Cluster(server, api)
        finally:
            await api.stop()


def namespaces(number: int) -> list[tuple[Kind, Json]]:
    names = [Tenant(index, number).namespace for index in range(number)]
    return [
        (NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "namespace": ""}})
        for name in names
    ]


def phase_is(phase: str) -> Callable[[Json], bool]:
    return lambda resource: resource.get("status", {}).get("phase") == phase


def is_ready(resource: Json) -> bool:
    conditions = resource.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


EVERYTHING: tuple[tuple[Kind, int, Callable[[Json], bool]], ...] = (
    (MODEL, 1, phase_is("Ready")),
    (APPLICATION, 1, phase_is("Running")),
    (ENDPOINT, 1, is_ready),
    (TOKEN, TOKENS_EACH, is_ready),
)
"""Kind, number per tenant, and the condition that holds once one is ready."""
