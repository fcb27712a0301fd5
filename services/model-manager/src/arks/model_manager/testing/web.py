"""A web server on loopback that counts what it serves and fails on demand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from arks.kit.testing.web import serving

if TYPE_CHECKING:
    import ssl

_BLOCK_BYTES = 64 * 1024


@dataclass
class WebServer:
    """Files by path (`/model.gguf`), and how the server behaves."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    etags: bool = True
    authorization: str | None = None
    """Required of every request; None: public."""
    statuses: list[int] = field(default_factory=list)
    """Answers of the next requests, instead of files."""
    cut_after_bytes: list[int] = field(default_factory=list)
    """Of the next bodies: the connection is closed after so many bytes."""
    redirects: bool = False
    """Answer with a redirect to a signed address on another host, which expires after one request."""
    bytes_per_second: float | None = None
    replaced_after_probe: bytes | None = None
    """The content of every file after the request for its first byte."""
    starts: list[int] = field(default_factory=list)
    """First byte of every body that was served."""
    served_bytes: int = 0
    port: int = 0
    scheme: str = "http"
    _signatures: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        probe = request.headers.get("Range") == "bytes=0-0"
        if "signature" in request.query:
            if request.query["signature"] not in self._signatures or "Authorization" in request.headers:
                return web.Response(status=403)
            self._signatures.discard(request.query["signature"])
        elif self.authorization is not None and request.headers.get("Authorization") != self.authorization:
            return web.Response(status=401)
        elif self.redirects:
            signature = f"{len(self.starts)}-{id(request)}"
            self._signatures.add(signature)
            location = f"{self.scheme}://localhost:{self.port}{request.path}?signature={signature}"
            return web.Response(status=302, headers={"Location": location})
        if self.statuses and not probe:
            return web.Response(status=self.statuses.pop(0))
        content = self.files.get(request.path)
        if content is None:
            return web.Response(status=404)
        return await self._send(request, content, probe)

    async def _send(self, request: web.Request, content: bytes, probe: bool) -> web.StreamResponse:
        etag = f'"{hash(content)}"'
        if request.headers.get("If-Match", etag) != etag:
            return web.Response(status=412)
        partial = self.ranges and "Range" in request.headers
        start = (request.http_range.start or 0) if partial else 0
        end = min(request.http_range.stop or len(content), len(content)) if partial else len(content)
        if partial and start >= len(content):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
        response = web.StreamResponse(status=206 if partial else 200)
        if partial:
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        if self.etags:
            response.headers["ETag"] = etag
        response.content_length = end - start
        await response.prepare(request)
        if not probe:
            self.starts.append(start)
        cut = self.cut_after_bytes.pop(0) if self.cut_after_bytes and not probe else None
        await self._body(request, response, content[start:end], cut)
        if probe and self.replaced_after_probe is not None:
            self.files[request.path] = self.replaced_after_probe
        return response

    async def _body(
        self, request: web.Request, response: web.StreamResponse, body: bytes, cut_after_bytes: int | None
    ) -> None:
        for at in range(0, len(body), _BLOCK_BYTES):
            block = body[at : at + _BLOCK_BYTES]
            if cut_after_bytes is not None and at + len(block) > cut_after_bytes:
                await response.write(block[: max(0, cut_after_bytes - at)])
                if request.transport is not None:
                    request.transport.close()
                return
            await response.write(block)
            self.served_bytes += len(block)
            if self.bytes_per_second is not None:
                await asyncio.sleep(len(block) / self.bytes_per_second)


@asynccontextmanager
async def web_server(tls: "ssl.SSLContext | None" = None) -> AsyncIterator[WebServer]:
    """An empty server on a free port of loopback."""
    server = WebServer(scheme="https" if tls is not None else "http")
    application = web.Application()
    application.router.add_get("/{path:.*}", server.answer, allow_head=False)
    async with serving(application, tls=tls) as server.port:
        yield server
