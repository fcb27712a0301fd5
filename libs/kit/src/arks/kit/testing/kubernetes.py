"""A real API server (etcd and kube-apiserver, nothing else) on loopback: for resources, watches, leases and RBAC."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml

from arks.kit.ports import free_port
from arks.kit.process import end, spawn

_START_SECONDS = 120.0
FRONT_PROXY = "front-proxy-client"
"""Common name of the certificate with which the API server calls the API servers of others."""


def kube_binaries() -> Path:
    """Where `make kube-binaries` put etcd, kube-apiserver and kubectl."""
    return Path(os.environ.get("KUBE_BIN", Path.home() / ".cache/arks-kube/bin"))


_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True)
class ApiServer:
    url: str
    kubeconfig: Path
    """An administrator's."""
    directory: Path

    @property
    def authority(self) -> Path:
        """Certificate that clients may check the server's with."""
        return self.directory / "certs" / "apiserver.crt"

    @property
    def audit_log(self) -> Path:
        """A line of JSON a request, when the server was started with `audit`."""
        return self.directory / "audit.log"

    async def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl printed. Raises RuntimeError with its complaint."""
        process = await asyncio.create_subprocess_exec(
            str(kube_binaries() / "kubectl"),
            *("--kubeconfig", str(self.kubeconfig), *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 120)
        if process.returncode:
            raise RuntimeError(err.decode())
        return out.decode()

    async def kubeconfig_of(self, account: str, namespace: str) -> Path:
        """A kubeconfig of a service account that exists, with its rights and no more."""
        token = await self.kubectl("create", "token", account, "--namespace", namespace)
        path = self.directory / f"{namespace}.{account}.kubeconfig"
        return _kubeconfig(path, self.url, token.strip())


async def _openssl(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec("openssl", *arguments, stderr=asyncio.subprocess.DEVNULL)
    if await process.wait():
        raise RuntimeError(f"openssl {' '.join(arguments)} failed")


async def _ready(url: str, token: str, log_file: Path, process: asyncio.subprocess.Process) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with asyncio.timeout(_START_SECONDS), aiohttp.ClientSession(headers=headers) as client:
        while True:
            if process.returncode is not None:
                raise RuntimeError(f"kube-apiserver ended: {log_file.read_text()[-2000:]}")
            try:
                async with client.get(f"{url}/readyz", ssl=False) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


def _kubeconfig(path: Path, url: str, token: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def _audit_options(directory: Path) -> list[str]:
    policy = directory / "audit-policy.yaml"
    policy.write_text(yaml.safe_dump(_AUDIT_POLICY))
    return [f"--audit-policy-file={policy}", f"--audit-log-path={directory / 'audit.log'}"]


async def _aggregation_options(directory: Path) -> list[str]:
    """With them it forwards requests to the API servers of others, which recognise it by this certificate."""
    key, certificate = directory / "front-proxy.key", directory / "front-proxy.crt"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    subject = ("-subj", f"/CN={FRONT_PROXY}", "-keyout", str(key), "-out", str(certificate))
    await _openssl("req", "-x509", "-nodes", "-days", "30", *curve, *subject)
    return [
        *(f"--requestheader-client-ca-file={certificate}", f"--requestheader-allowed-names={FRONT_PROXY}"),
        *("--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group"),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        *(f"--proxy-client-cert-file={certificate}", f"--proxy-client-key-file={key}"),
    ]


@asynccontextmanager
async def pod_autoscaling(server: ApiServer) -> AsyncIterator[None]:
    """Kubernetes' own controllers of HorizontalPodAutoscalers, which decide each second, and of ResourceQuotas."""
    command = [
        *(str(kube_binaries() / "kube-controller-manager"), f"--kubeconfig={server.kubeconfig}"),
        "--controllers=horizontal-pod-autoscaler-controller,resourcequota-controller",
        *("--leader-elect=false", "--secure-port=0", "--horizontal-pod-autoscaler-sync-period=1s"),
    ]
    process = await spawn(command, log_file=server.directory / "kube-controller-manager.log")
    try:
        yield
    finally:
        await end(process, grace_seconds=3.0)


@asynccontextmanager
async def api_server(directory: Path, *, audit: bool = False) -> AsyncIterator[ApiServer]:
    """Answers after some seconds; `audit`: writes down every request. Raises FileNotFoundError when the binaries have
    not been built.
    """
    binaries = kube_binaries()
    if not (binaries / "kube-apiserver").exists():
        raise FileNotFoundError(f"no kube-apiserver in {binaries}: run `make kube-binaries` once")
    directory.mkdir(parents=True, exist_ok=True)
    etcd_port, peer_port, port, token = free_port(), free_port(), free_port(), secrets.token_hex(16)
    key, public = directory / "sa.key", directory / "sa.pub"
    await _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key))
    await _openssl("ec", "-in", str(key), "-pubout", "-out", str(public))
    (directory / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    etcd_url, url = f"http://127.0.0.1:{etcd_port}", f"https://127.0.0.1:{port}"
    etcd = [
        *(str(binaries / "etcd"), "--data-dir", str(directory / "etcd"), "--unsafe-no-fsync", "--log-level", "warn"),
        *("--listen-client-urls", etcd_url, "--advertise-client-urls", etcd_url),
        *("--listen-peer-urls", f"http://127.0.0.1:{peer_port}"),
    ]
    apiserver = [
        *(str(binaries / "kube-apiserver"), f"--etcd-servers={etcd_url}", f"--secure-port={port}"),
        *("--bind-address=127.0.0.1", f"--cert-dir={directory / 'certs'}", "--service-cluster-ip-range=10.0.0.0/16"),
        *("--authorization-mode=RBAC", f"--token-auth-file={directory / 'tokens.csv'}"),
        *("--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={public}"),
        *(f"--service-account-signing-key-file={key}", "--disable-admission-plugins=ServiceAccount"),
        *await _aggregation_options(directory),
        *(_audit_options(directory) if audit else []),
    ]
    async with AsyncExitStack() as stack:
        for name, command in (("etcd", etcd), ("kube-apiserver", apiserver)):
            process = await spawn(command, log_file=directory / f"{name}.log")
            stack.push_async_callback(end, process, grace_seconds=3.0)
        await _ready(url, token, directory / "kube-apiserver.log", process)
        yield ApiServer(url, _kubeconfig(directory / "kubeconfig", url, token), directory)
