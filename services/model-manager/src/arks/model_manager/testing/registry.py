"""An OCI registry on loopback with the distribution specification's API for pulls, whose tokens expire."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from arks.kit.testing.web import serving

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
USER, PASSWORD = "puller", "right"


@dataclass
class Registry:
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    """By tag and by digest."""
    private: bool = False
    requests_per_token: int | None = None
    """A token expires after so many requests; None: never."""
    ranges: bool = True
    logins: int = 0
    port: int = 0
    _uses: dict[str, int] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def push(self, tag: str, files: Mapping[str, bytes], **changes: str) -> str:
        """Push an artifact as ORAS does. Returns the manifest's digest."""
        layers = []
        for name, content in files.items():
            digest = _digest(content)
            self.blobs[digest] = content
            annotations = {"org.opencontainers.image.title": name}
            media_type = changes.get("media_type", "application/octet-stream")
            layers.append({"mediaType": media_type, "digest": digest, "size": len(content), "annotations": annotations})
        return self.put(tag, {"schemaVersion": 2, "mediaType": MANIFEST, "layers": layers})

    def put(self, tag: str, manifest: Mapping[str, object]) -> str:
        content = json.dumps(manifest).encode()
        digest = _digest(content)
        self.manifests[tag] = self.manifests[digest] = content
        return digest

    async def manifest(self, request: web.Request) -> web.StreamResponse:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        content = self.manifests.get(request.match_info["version"])
        if content is None:
            return web.Response(status=404)
        return web.Response(body=content, content_type=json.loads(content)["mediaType"])

    async def blob(self, request: web.Request) -> web.StreamResponse:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        content = self.blobs.get(request.match_info["digest"])
        if content is None:
            return web.Response(status=404)
        if not self.ranges or "Range" not in request.headers:
            return web.Response(body=content)
        start, end = request.http_range.start or 0, min(request.http_range.stop or len(content), len(content))
        headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(content)}"}
        return web.Response(status=206, body=content[start:end], headers=headers)

    async def token(self, request: web.Request) -> web.Response:
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.private and request.headers.get("Authorization") != f"Basic {expected}":
            return web.Response(status=401)
        self.logins += 1
        token = f"token-{self.logins}"
        self._uses[token] = 0
        return web.json_response({"token": token})

    def _refusal(self, request: web.Request) -> web.Response | None:
        if not self.private and self.requests_per_token is None:
            return None
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        limit = self.requests_per_token
        if token in self._uses and (limit is None or self._uses[token] < limit):
            self._uses[token] += 1
            return None
        challenge = f'Bearer realm="http://{self.host}/token",service="registry",scope="repository:acme/tiny:pull"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@asynccontextmanager
async def registry_server() -> AsyncIterator[Registry]:
    """An empty registry on a free port of loopback."""
    registry = Registry()
    application = web.Application()
    application.router.add_get("/v2/acme/tiny/manifests/{version}", registry.manifest)
    application.router.add_get("/v2/acme/tiny/blobs/{digest}", registry.blob)
    application.router.add_get("/token", registry.token)
    async with serving(application) as registry.port:
        yield registry
