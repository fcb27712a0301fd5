"""The gateway with a certificate, on a real Envoy."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import trustme

from arks.endpoint_router.programs.bootstrap import certificate_json
from arks.endpoint_router.testing.gateway import Gateway, Gateways
from arks.endpoint_router.testing.scripted import Request, chunk, head
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real

BODY = b'{"model":"m","stream":true}'
FIRST, LAST = b'data: {"choices":[]}\n\n', b"data: [DONE]\n\n"
DIRECTORY_LINK = "..data"


@dataclass
class Secret:
    """A directory that changes like a mounted Secret: the kubelet writes new files, then renames one link."""

    directory: Path
    authority: trustme.CA
    versions: int = 0

    def write(self, common_name: str) -> None:
        self.versions += 1
        version = self.directory / f"..version-{self.versions}"
        version.mkdir(parents=True)
        issued = self.authority.issue_cert("127.0.0.1", "localhost", common_name=common_name)
        for number, pem in enumerate(issued.cert_chain_pems):
            pem.write_to_path(version / "tls.crt", append=number > 0)
        issued.private_key_pem.write_to_path(version / "tls.key")
        fresh = self.directory / "..data_tmp"
        fresh.symlink_to(version.name)
        fresh.rename(self.directory / DIRECTORY_LINK)
        for name in ("tls.crt", "tls.key"):
            if not (self.directory / name).is_symlink():
                (self.directory / name).symlink_to(f"{DIRECTORY_LINK}/{name}")

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context


@dataclass
class Secure:
    gateway: Gateway
    secret: Secret

    @property
    def port(self) -> int:
        return int(self.gateway.client.base_url.port or 0)

    def client(self, *, http2: bool = False) -> httpx.AsyncClient:
        url = f"https://127.0.0.1:{self.port}"
        return httpx.AsyncClient(base_url=url, verify=self.secret.context(), http2=http2, timeout=60, trust_env=False)

    async def handshake(self, context: ssl.SSLContext) -> tuple[str, str]:
        """Return (TLS version, name in the certificate) of a new connection."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        found = writer.get_extra_info("ssl_object")
        subject = {name: value for ((name, value),) in found.getpeercert()["subject"]}
        writer.close()
        await writer.wait_closed()
        return found.version(), subject["commonName"]


@pytest_asyncio.fixture
async def secure(gateways: Gateways, tmp_path: Path) -> AsyncIterator[Secure]:
    secret = Secret(tmp_path / "tls", trustme.CA())
    secret.write("first")
    source = tmp_path / "certificate.json"
    source.write_text(certificate_json(str(secret.directory)))
    yield Secure(await gateways.start(certificate_source=source), secret)


async def post(client: httpx.AsyncClient) -> httpx.Response:
    headers = {"authorization": "Bearer sk-secret"}
    return await client.post("/v1/chat/completions", content=b'{"model":"m"}', headers=headers)


@pytest.mark.parametrize(("http2", "spoken"), [(False, "HTTP/1.1"), (True, "HTTP/2")])
async def test_a_client_that_trusts_the_authority_is_served(secure: Secure, http2: bool, spoken: str) -> None:
    async with secure.client(http2=http2) as client:
        answer = await post(client)
    assert (200, spoken) == (answer.status_code, answer.http_version)


async def test_nothing_is_served_without_tls(secure: Secure) -> None:
    with pytest.raises(httpx.TransportError):
        await secure.gateway.post(BODY)
    assert [] == secure.gateway.engine.requests


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
async def test_tls_before_1_2_is_rejected(secure: Secure) -> None:
    old = secure.secret.context()
    old.set_ciphers("DEFAULT@SECLEVEL=0")  # or the client itself would reject the version
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        await secure.handshake(old)
    new = secure.secret.context()
    new.maximum_version = ssl.TLSVersion.TLSv1_2
    assert ("TLSv1.2", "first") == await secure.handshake(new)
    assert ("TLSv1.3", "first") == await secure.handshake(secure.secret.context())


async def test_a_new_certificate_is_used_while_a_stream_goes_on(secure: Secure) -> None:
    go_on = asyncio.Event()

    async def stream(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head(content_type="text/event-stream", transfer_encoding="chunked") + chunk(FIRST))
        await writer.drain()
        await go_on.wait()
        writer.write(chunk(LAST) + chunk(b""))

    secure.gateway.engine.script = stream
    headers = {"authorization": "Bearer sk-secret"}
    async with (
        secure.client() as client,
        client.stream("POST", "/v1/chat/completions", content=BODY, headers=headers) as answer,
    ):
        chunks = answer.aiter_bytes()
        assert FIRST == await anext(chunks)
        secure.secret.write("second")

        async def renewed() -> bool:
            return ("TLSv1.3", "second") == await secure.handshake(secure.secret.context())

        await eventually(renewed, what="new connections get the new certificate")
        go_on.set()
        assert LAST == b"".join([chunk async for chunk in chunks])


async def test_an_unreadable_certificate_does_not_replace_the_old_one(secure: Secure) -> None:
    broken = secure.secret.directory / "..broken"
    broken.mkdir()
    (broken / "tls.crt").write_text("no certificate")
    (broken / "tls.key").write_text("no key")
    fresh = secure.secret.directory / "..data_tmp"
    fresh.symlink_to(broken.name)
    fresh.rename(secure.secret.directory / DIRECTORY_LINK)

    async def noticed() -> bool:
        return await secure.gateway.stat("sds.gateway.key_rotation_failed") > 0

    await eventually(noticed, what="Envoy refuses it")
    assert ("TLSv1.3", "first") == await secure.handshake(secure.secret.context())
