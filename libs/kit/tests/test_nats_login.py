"""A service logs in to real NATS servers in each way that the settings name."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from nacl.signing import SigningKey
from prometheus_client import CollectorRegistry

from arks.kit import nkeys
from arks.kit.bus import Bus
from arks.kit.ports import free_port
from arks.kit.settings import Settings
from arks.kit.testing.servers import program, serve
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real
ACCOUNT, OPERATOR, USER = 0, 14 << 3, 20 << 3


class Identity:
    """An nkey of a kind, and the JWTs that it signs."""

    def __init__(self, prefix: int) -> None:
        self._key = SigningKey.generate()
        self.public = self._encode(bytes([prefix]), bytes(self._key.verify_key))
        self.seed = self._encode(bytes([(18 << 3) | (prefix >> 5), (prefix & 31) << 3]), bytes(self._key))

    @staticmethod
    def _encode(prefix: bytes, raw: bytes) -> str:
        body = prefix + raw
        return base64.b32encode(body + nkeys._checksum(body)).decode().rstrip("=")

    def issue(self, subject: str, name: str, claims: dict[str, Any]) -> str:
        header = {"typ": "JWT", "alg": "ed25519-nkey"}
        body = {"jti": name, "iat": 1, "iss": self.public, "sub": subject, "name": name, "nats": claims}
        signed = b".".join(self._part(json.dumps(part).encode()) for part in (header, body))
        return b".".join([signed, self._part(self._key.sign(signed).signature)]).decode()

    @staticmethod
    def _part(raw: bytes) -> bytes:
        return base64.urlsafe_b64encode(raw).rstrip(b"=")


@asynccontextmanager
async def server(directory: Path, config: str) -> AsyncIterator[int]:
    port = free_port()
    path = directory / "nats.conf"
    path.write_text(f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{directory}/data" }}\n{config}')
    async with serve([program("nats-server"), "--config", str(path)], port, directory):
        yield port


async def connects(settings: Settings) -> bool:
    """Whether a service gets its streams, so also JetStream's, and messages over a connection that gathers them."""
    bus = Bus("test", settings, CollectorRegistry())
    received: list[bytes] = []
    try:
        await bus.start()
        await bus.bucket("b")
        await bus.subscribe_gathered("arks.test", lambda _, payload: received.append(payload), 0.001)

        async def arrives() -> bool:
            await bus.publish("arks.test", b"x")
            return bool(received)

        await eventually(arrives)
        return bus.connected
    finally:
        await bus.stop()


def written(directory: Path, name: str, text: str) -> Path:
    (directory / name).write_text(f"{text}\n")
    return directory / name


async def test_a_user_and_a_password_and_a_second_server_while_the_first_is_away(tmp_path: Path) -> None:
    async with server(tmp_path, "authorization { user: arks, password: p4ss }") as port:
        settings = Settings(
            nats_url=f"nats://127.0.0.1:{free_port()},nats://127.0.0.1:{port}",
            nats_user="arks",
            nats_password_file=written(tmp_path, "password", "p4ss"),
        )
        assert await connects(settings)


async def test_an_nkey(tmp_path: Path) -> None:
    user = Identity(USER)
    async with server(tmp_path, f"authorization {{ users: [{{ nkey: {user.public} }}] }}") as port:
        seed = written(tmp_path, "seed", user.seed)
        assert await connects(Settings(nats_url=f"nats://127.0.0.1:{port}", nats_nkey_file=seed))


async def test_credentials_of_a_server_with_an_operator(tmp_path: Path) -> None:
    operator, account, system, user = (Identity(kind) for kind in (OPERATOR, ACCOUNT, ACCOUNT, USER))
    unlimited = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    limits = {**unlimited, "wildcards": True, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    claims = {"type": "account", "version": 2, "limits": limits}
    config = f"operator: {operator.issue(operator.public, 'O', {'type': 'operator', 'version': 2})}\n"
    config += f"system_account: {system.public}\nresolver: MEMORY\nresolver_preload: {{\n"
    config += f"{account.public}: {operator.issue(account.public, 'A', claims)}\n"
    bare = {**claims, "limits": {**unlimited, "wildcards": True}}
    config += f"{system.public}: {operator.issue(system.public, 'S', bare)}\n}}\n"
    own = {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}
    jwt = account.issue(user.public, "U", own)
    text = f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
    text += f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    async with server(tmp_path, config) as port:
        file = written(tmp_path, "arks.creds", text)
        assert await connects(Settings(nats_url=f"nats://127.0.0.1:{port}", nats_credentials_file=file))


async def test_a_private_authority_and_a_client_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    for name, issued in (("server", authority.issue_cert("127.0.0.1")), ("client", authority.issue_cert("arks"))):
        issued.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.crt"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    files = f'cert_file: "{tmp_path}/server.crt", key_file: "{tmp_path}/server.key", ca_file: "{tmp_path}/ca.crt"'
    async with server(tmp_path, f"tls {{ {files}, verify: true }}") as port:
        settings = Settings(
            nats_url=f"tls://127.0.0.1:{port}",
            nats_ca_file=tmp_path / "ca.crt",
            nats_certificate_file=tmp_path / "client.crt",
            nats_certificate_key_file=tmp_path / "client.key",
        )
        assert await connects(settings)
