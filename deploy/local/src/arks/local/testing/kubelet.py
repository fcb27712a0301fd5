"""A kubelet that only forwards ports: an API server sends `pods/portforward` to it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trustme
from aiohttp import WSMsgType, web

from arks.kit.tasks import cancel
from arks.kit.testing.web import serving

PROTOCOL = "v4.channel.k8s.io"


PORTS = web.AppKey("ports", dict[int, int])


async def _forward(request: web.Request) -> web.WebSocketResponse:
    if "*/*" not in request.headers.get("Accept", "*/*"):
        raise web.HTTPNotAcceptable  # as kubelets and containerd do
    number = int(request.query["port"])
    stream = web.WebSocketResponse(protocols=(PROTOCOL,))
    await stream.prepare(request)
    for channel in (0, 1):
        await stream.send_bytes(bytes([channel]) + number.to_bytes(2, "little"))
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", request.app[PORTS][number])
    except OSError as error:
        await stream.send_bytes(b"\x01" + str(error).encode())
        await stream.close()
        return stream

    async def send() -> None:
        while data := await reader.read(65536):
            await stream.send_bytes(b"\x00" + data)
        await stream.close()

    sending = asyncio.create_task(send())
    try:
        async for message in stream:
            if message.type is WSMsgType.BINARY and message.data[:1] == b"\x00":
                writer.write(message.data[1:])
    finally:
        writer.close()  # first: this may be cancelled while it waits
        await cancel(sending)
    return stream


@asynccontextmanager
async def kubelet(directory: Path, ports: dict[int, int]) -> AsyncIterator[int]:
    """Yields its port. `ports`: the port of loopback that stands for each port of containers."""
    directory.mkdir(exist_ok=True)
    certificate = trustme.CA().issue_cert("127.0.0.1")
    file = directory / "kubelet.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(file))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(file)
    application = web.Application()
    application[PORTS] = ports
    application.router.add_get("/portForward/{namespace}/{pod}", _forward)
    async with serving(application, tls=tls) as port:
        yield port
