"""A small hub on loopback with ModelScope's API."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from arks.kit.testing.web import serving


@dataclass
class ModelScopeHub:
    files: dict[str, bytes] = field(default_factory=dict)
    """Of the repository acme/tiny, on the branch master."""
    token: str | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def list(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        entries = [
            {
                "Type": "blob",
                "Path": path,
                "Size": len(content),
                "Sha256": hashlib.sha256(content).hexdigest(),
                "Revision": f"commit-{number}",
                "CommittedDate": number,
            }
            for number, (path, content) in enumerate(self.files.items(), 1)
        ]
        return web.json_response({"Code": 200, "Data": {"Files": [{"Type": "tree", "Path": "sub"}, *entries]}})

    async def file(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        content = self.files[request.query["FilePath"]]
        start, end = request.http_range.start or 0, min(request.http_range.stop or len(content), len(content))
        headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(content)}"}
        return web.Response(status=206, body=content[start:end], headers=headers)

    def _refusal(self, request: web.Request) -> web.Response | None:
        if self.token is not None and request.cookies.get("m_session_id") != self.token:
            return web.Response(status=403)
        return web.Response(status=404) if request.query["Revision"] != "master" else None


@asynccontextmanager
async def modelscope_server() -> AsyncIterator[ModelScopeHub]:
    """A hub on a free port of loopback."""
    hub = ModelScopeHub()
    application = web.Application()
    application.router.add_get("/api/v1/models/acme/tiny/repo/files", hub.list)
    application.router.add_get("/api/v1/models/acme/tiny/repo", hub.file)
    async with serving(application) as hub.port:
        yield hub
