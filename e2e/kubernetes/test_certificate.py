"""Envoy serves HTTPS with a certificate from a Secret, also while the certificate is renewed."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import httpx
import pytest
import trustme

from arks.kit.testing.helm import helm
from arks.kit.testing.wait import eventually
from e2e.support.cluster import Cluster
from e2e.support.pods import running_pods
from e2e.support.tenant import SYSTEM

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(900)]

SECRET = "gateway-certificate"
RENEWED_SECONDS = 300.0
"""A kubelet with default settings updates a changed Secret within a minute or two."""


def secret(authority: trustme.CA, address: str, common_name: str) -> dict[str, object]:
    issued = authority.issue_cert(address, common_name=common_name)
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems).decode()
    data = {"tls.crt": chain, "tls.key": issued.private_key_pem.bytes().decode()}
    metadata = {"name": SECRET, "namespace": SYSTEM}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "stringData": data}


async def shown(host: str, port: int, context: ssl.SSLContext) -> str:
    """Common name in the certificate of a new connection."""
    _, writer = await asyncio.open_connection(host, port, ssl=context)
    subject = {name: value for ((name, value),) in writer.get_extra_info("peercert")["subject"]}
    writer.close()
    await writer.wait_closed()
    return str(subject["commonName"])


async def test_a_certificate_is_served_from_its_secret_and_renewed_without_a_restart(
    cluster: Cluster, gateway: str, reinstall: Callable[..., Awaitable[None]]
) -> None:
    at, authority, context = urlsplit(gateway), trustme.CA(), ssl.create_default_context()
    host, port = str(at.hostname), int(at.port or 0)
    authority.configure_trust(context)
    system = cluster.within(SYSTEM)
    await system.apply(secret(authority, host, "first"))
    try:
        await reinstall("--set", f"gateway.tls.secretName={SECRET}")
        pods = await running_pods(system, "app.kubernetes.io/component=gateway")
        async with httpx.AsyncClient(verify=context, http2=True, trust_env=False) as client:
            answer = await client.get(f"https://{host}:{port}/v1/models")
            assert (401, "HTTP/2") == (answer.status_code, answer.http_version)
            assert "first" == await shown(host, port, context)
            await asyncio.to_thread(helm, "test", "arks", "--namespace", SYSTEM, kubeconfig=cluster.kubeconfig)
            await system.apply(secret(authority, host, "second"))

            async def renewed() -> bool:
                return {"second"} == {await shown(host, port, context) for _ in range(8)}  # each may reach another pod

            await eventually(renewed, within_seconds=RENEWED_SECONDS, what="the new certificate")
            assert 401 == (await client.get(f"https://{host}:{port}/v1/models")).status_code
        assert pods == await running_pods(system, "app.kubernetes.io/component=gateway")
    finally:
        await reinstall()
        await system.kubectl("delete", "secret", SECRET)
    async with httpx.AsyncClient(trust_env=False) as client:
        assert 401 == (await client.get(f"{gateway}/v1/models")).status_code
