"""A small hub on loopback with Hugging Face's API, which counts what it serves and fails on demand.

Large files (LFS) are served as the real one does: `resolve` answers with a redirect to another address, which takes
ranges and needs no token. Small files are served by `resolve` itself.
"""

import asyncio
import fnmatch
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from aiohttp import web

from arks.kit.testing.web import serving

_REPOSITORY = "{repository:[^/]+(?:/[^/]+)?}"
_BLOCK_BYTES = 64 * 1024


@dataclass
class Fault:
    """A fault of the next `times` requests for files whose path matches."""

    pattern: str = "*"
    times: int = 1
    status: int | None = None
    """Answer with this status."""
    cut_after_bytes: int | None = None
    """Close the connection after so many bytes of the body."""
    wrong_bytes: bool = False
    """Send bytes of the right number that are not the file's."""


@dataclass
class Repository:
    files: dict[str, bytes]
    revision: str
    token: str | None = None
    """Required of every request; None: public."""
    gated: bool = False
    large_from_bytes: int = 64 * 1024

    @cached_property
    def sha256(self) -> dict[str, str]:
        """Of large files, by path."""
        large = {path: content for path, content in self.files.items() if len(content) >= self.large_from_bytes}
        return {path: hashlib.sha256(content).hexdigest() for path, content in large.items()}

    @cached_property
    def git_sha1(self) -> dict[str, str]:
        """Of the others."""
        return {path: _git_sha1(content) for path, content in self.files.items() if path not in self.sha256}

    @cached_property
    def commit(self) -> str:
        names = repr(sorted((self.sha256 | self.git_sha1).items()))
        return hashlib.sha1(names.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Served:
    """One request for the content of a file."""

    path: str
    start: int
    with_token: bool


@dataclass
class Hub:
    """Repositories, faults, and what has been served."""

    repositories: dict[str, list[Repository]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    api_faults: list[Fault] = field(default_factory=list)
    """For requests to `/api/`; the pattern is for the repository's name."""
    bytes_per_second: float | None = None
    """Of each connection; None: as fast as it goes."""
    hold: asyncio.Event | None = None
    """Until it is set, bodies of large files stop half-way."""
    served_bytes: Counter[str] = field(default_factory=Counter)
    served: list[Served] = field(default_factory=list)
    api_requests: int = 0
    host: str = "127.0.0.1"
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def add(
        self,
        name: str,
        files: Mapping[str, bytes],
        *,
        revision: str = "main",
        token: str | None = None,
        gated: bool = False,
    ) -> Repository:
        """Add a revision of a repository, or replace the revision of that name."""
        others = [kept for kept in self.repositories.get(name, []) if kept.revision != revision]
        added = Repository(dict(files), revision, token, gated)
        self.repositories[name] = [*others, added]
        return added

    # --- the API

    def application(self) -> web.Application:
        application = web.Application()
        application.add_routes(
            [
                web.get(f"/api/models/{_REPOSITORY}/revision/{{revision}}", self._model),
                web.get(f"/api/models/{_REPOSITORY}/tree/{{revision}}", self._tree),
                web.get(f"/api/models/{_REPOSITORY}", self._model),
                web.get(f"/{_REPOSITORY}/resolve/{{revision}}/{{path:.+}}", self._resolve, allow_head=True),
                web.get("/storage/{digest}", self._large),
            ]
        )
        return application

    async def _model(self, request: web.Request) -> web.Response:
        self.api_requests += 1
        found = self._find(request)
        if isinstance(found, web.Response):
            return found
        name = request.match_info["repository"]
        siblings = [{"rfilename": path} for path in sorted(found.files)]
        return web.json_response({"id": name, "modelId": name, "sha": found.commit, "siblings": siblings})

    async def _tree(self, request: web.Request) -> web.Response:
        self.api_requests += 1
        found = self._find(request)
        if isinstance(found, web.Response):
            return found
        entries = [_entry(path, content, found) for path, content in sorted(found.files.items())]
        at, page = int(request.query.get("cursor", 0)), 1000
        headers = {}
        if at + page < len(entries):
            following = request.url.update_query(cursor=str(at + page))
            headers["Link"] = f'<{following}>; rel="next"'
        return web.json_response(entries[at : at + page], headers=headers)

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        found = self._find(request, faults=False)
        if isinstance(found, web.Response):
            return found
        path = request.match_info["path"]
        content = found.files.get(path)
        headers = {"X-Repo-Commit": found.commit}
        if content is None:
            return _error(404, "EntryNotFound", headers)
        if path not in found.sha256:
            return await self._send(request, path, content, headers | {"ETag": f'"{found.git_sha1[path]}"'})
        digest = found.sha256[path]
        headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        location = f"/storage/{digest}?path={path}&signature=not-to-be-shown"
        return web.Response(status=302, headers=headers | {"Location": location})

    async def _large(self, request: web.Request) -> web.StreamResponse:
        for revisions in self.repositories.values():
            for repository in revisions:
                path = request.query["path"]
                if repository.sha256.get(path) == request.match_info["digest"]:
                    return await self._send(request, path, repository.files[path], {})
        return _error(404, "EntryNotFound")

    # --- access and faults

    def _find(self, request: web.Request, *, faults: bool = True) -> Repository | web.Response:
        name, revision = request.match_info["repository"], request.match_info.get("revision", "main")
        if faults and (fault := _take(self.api_faults, name)) is not None and fault.status is not None:
            return _error(fault.status, "")
        known = self.repositories.get(name)
        if not known:
            return _error(401 if "Authorization" not in request.headers else 404, "RepoNotFound")
        for repository in known:
            if repository.token is not None and request.headers.get("Authorization") != f"Bearer {repository.token}":
                return _error(403 if repository.gated else 401, "GatedRepo" if repository.gated else "RepoNotFound")
            if revision in {repository.revision, repository.commit}:
                return repository
        return _error(404, "RevisionNotFound")

    async def _send(
        self, request: web.Request, path: str, content: bytes, headers: dict[str, str]
    ) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(headers=headers | {"Content-Length": str(len(content))})
        fault = _take(self.faults, path) or Fault()
        start = request.http_range.start or 0
        end = min(request.http_range.stop or len(content), len(content))
        self.served.append(Served(path, start, "Authorization" in request.headers))
        if fault.status is not None:
            return _error(fault.status, "")
        if start >= len(content) and start:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
        body = bytes(byte ^ 0xFF for byte in content) if fault.wrong_bytes else content
        response = web.StreamResponse(status=206 if "Range" in request.headers else 200, headers=headers)
        response.content_length = end - start
        if "Range" in request.headers:
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        await response.prepare(request)
        await self._body(request, response, path, memoryview(body)[start:end], fault)
        return response

    async def _body(
        self, request: web.Request, response: web.StreamResponse, path: str, body: memoryview, fault: Fault
    ) -> None:
        for at in range(0, len(body), _BLOCK_BYTES):
            if self.hold is not None and at >= len(body) // 2:
                await self.hold.wait()
            block = body[at : at + _BLOCK_BYTES]
            if fault.cut_after_bytes is not None and at + len(block) > fault.cut_after_bytes:
                await response.write(block[: max(0, fault.cut_after_bytes - at)])
                if request.transport is not None:
                    request.transport.close()
                return
            await response.write(block)
            self.served_bytes[path] += len(block)
            if self.bytes_per_second is not None:
                await asyncio.sleep(len(block) / self.bytes_per_second)


@asynccontextmanager
async def hub_server(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Hub]:
    """An empty hub; on a free port of loopback by default."""
    hub = Hub(host=host)
    async with serving(hub.application(), host, port) as hub.port:
        yield hub


def _entry(path: str, content: bytes, repository: Repository) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content)}
    if (digest := repository.sha256.get(path)) is None:
        return entry | {"oid": repository.git_sha1[path]}
    pointer = hashlib.sha1(digest.encode(), usedforsecurity=False).hexdigest()
    return entry | {"oid": pointer, "lfs": {"oid": digest, "size": len(content), "pointerSize": 134}}


def _git_sha1(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


def _take(faults: list[Fault], name: str) -> Fault | None:
    """The next fault for this name, which has one use less then."""
    for fault in faults:
        if fault.times > 0 and fnmatch.fnmatch(name, fault.pattern):
            fault.times -= 1
            return fault
    return None


def _error(status: int, code: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": code}, status=status, headers={"X-Error-Code": code} | dict(headers or {}))
