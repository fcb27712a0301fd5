"""Finds URL and credentials of the API server: a pod's service account or a kubeconfig."""

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from arks.kit.errors import Unavailable

ACCOUNT_DIRECTORY = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN_SECONDS = 60.0
"""How long a token is used before its file is read again; the kubelet renews it long before it expires."""


@dataclass(frozen=True)
class Access:
    url: str
    tls: ssl.SSLContext
    authorization: Callable[[], Awaitable[str | None]]
    """Returns the value of the Authorization header."""
    proxy: str | None = None


async def of_context(context: str | None, kubeconfig: Path | None = None) -> Access:
    """A person's access: a context of the kubeconfig; None: its current one. Raises Unavailable."""
    return await _of_kubeconfig(kubeconfig, context)


async def find(kubeconfig: Path | None = None, account_directory: Path = ACCOUNT_DIRECTORY) -> Access:
    """Use `kubeconfig` if given, else the pod's account, else the user's kubeconfig. Raises Unavailable."""
    if kubeconfig is None and (host := os.environ.get("KUBERNETES_SERVICE_HOST")):
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if (account_directory / "token").exists():
            return _of_pod(f"https://{f'[{host}]' if ':' in host else host}:{port}", account_directory)
    return await _of_kubeconfig(kubeconfig)


def _of_pod(url: str, directory: Path) -> Access:
    token = _Token(directory / "token")
    try:
        return Access(url, ssl.create_default_context(cafile=str(directory / "ca.crt")), token.header)
    except OSError as error:
        raise Unavailable(f"no API server: the certificate in {directory} cannot be used: {error}") from error


class _Token:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._header: str | None = None
        self._read_at = float("-inf")

    async def header(self) -> str | None:
        now = asyncio.get_running_loop().time()
        if now - self._read_at > _TOKEN_SECONDS:
            try:
                self._header, self._read_at = f"Bearer {self._path.read_text().strip()}", now
            except OSError as error:
                raise Unavailable(f"the account's token cannot be read: {error}") from error
        return self._header


async def _of_kubeconfig(path: Path | None, context: str | None = None) -> Access:
    """Load it with kubernetes_asyncio, which supports the programs and providers that a kubeconfig may name."""
    # the import costs 0.4 s and 40 MB, and services in pods do not need it
    from kubernetes_asyncio.client import Configuration  # noqa: PLC0415
    from kubernetes_asyncio.config import load_kube_config  # noqa: PLC0415
    from kubernetes_asyncio.config.config_exception import ConfigException  # noqa: PLC0415

    configuration = Configuration()
    try:
        file = str(path) if path else None
        await load_kube_config(config_file=file, context=context, client_configuration=configuration)
    except ConfigException as error:
        raise Unavailable(f"no API server: neither in a pod nor with a kubeconfig: {error}") from error
    tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        tls.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE

    async def authorization() -> str | None:
        header: str | None = await configuration.get_api_key_with_prefix("BearerToken")
        return header

    return Access(configuration.host or "", tls, authorization, configuration.proxy)
