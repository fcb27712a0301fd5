"""The client of the API server. It reads and writes JSON objects as dicts.

Manifests are generated as dicts, and objects that are read are validated by the types of `arks.contracts`. Only this
module translates errors of the API server into ours.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from sys import intern

import aiohttp
import structlog
from prometheus_client import CollectorRegistry, Counter

from arks.kit.errors import ArksError, Conflict, Invalid, NotFound, Unavailable
from arks.kit.faults import Faults
from arks.kit.key import Key
from arks.kit.kube.access import ACCOUNT_DIRECTORY, Access, find
from arks.kit.kube.kinds import POD, Kind
from arks.kit.kube.namespaces import EveryNamespace, Namespaces
from arks.kit.types import Json

log = structlog.get_logger(__name__)

REQUEST_SECONDS = 10.0
WATCH_SECONDS = 300
"""How long the server keeps a watch open. The next watch resumes from the last version seen."""
_PAGE = 500
_NOT_TYPED = "failed to create typed patch object"
"""Server-side apply answers 500 with this where other requests answer 400: a field is not of the schema's type."""
_NO_WEBHOOK = "failed calling webhook"
_CONNECTIONS = 32
_READ_BYTES = 2**21
_TIMEOUT = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
SILENCE_SECONDS = 90.0
"""The API server sends a bookmark about every minute. A watch that is silent for longer is opened again: its connection
may be gone, and neither side notices that by itself."""
_THROTTLED = 429
_TRIES = 4
_LONGEST_PAUSE_SECONDS = 30.0


Page = tuple[list[Json], str]  # objects, and the version to watch from once all are read


class Gone(ArksError):
    """The version to resume from is too old, so list again."""


class WebhookUnavailable(Unavailable):
    """An admission webhook of another program does not answer, so the API server refuses the object."""


def error_of(status: int, body: Json, what: str) -> ArksError:
    """Translate an error response of the API server."""
    message = f"{what}: {body.get('message') or body.get('reason') or status}"
    if status == 404:
        return NotFound(message)
    if status == 409:
        return Conflict(message)
    if status == 410:
        return Gone(message)
    if status in {400, 403, 405, 413, 415, 422} or (status == 500 and _NOT_TYPED in message):
        return Invalid(message)
    return WebhookUnavailable(message) if _NO_WEBHOOK in message else Unavailable(message)


def key_of_object(obj: Json) -> Key:
    return Key(intern(obj["metadata"].get("namespace", "")), obj["metadata"]["name"])


class KubeApi:
    """A connection pool. `field_manager`: the owner of our fields in server-side apply."""

    def __init__(
        self,
        field_manager: str,
        registry: CollectorRegistry,
        kubeconfig: Path | None = None,
        account_directory: Path = ACCOUNT_DIRECTORY,
        *,
        access: Access | None = None,
        silence_seconds: float = SILENCE_SECONDS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._watch_timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=silence_seconds)
        self._sleep = sleep
        self._kubeconfig = kubeconfig
        self._account_directory = account_directory
        self.field_manager = field_manager
        self._access = access
        self._client: aiohttp.ClientSession | None = None
        self._requests = Counter(
            "arks_kube_requests", "Requests to the API server", ["verb", "resource", "status"], registry=registry
        )
        unreadable = Counter(
            "arks_kube_unreadable_objects", "Objects that could not be read", ["resource"], registry=registry
        )
        self.faults = Faults(unreadable)
        self.namespaces: Namespaces = EveryNamespace()
        """Those whose objects informers keep. Set it before informers are made."""

    async def start(self) -> None:
        """Connect with the access that was given, else with the pod's account or a kubeconfig. Raises Unavailable."""
        if self._access is None:
            self._access = await find(self._kubeconfig, self._account_directory)
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=self._access.tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": self.field_manager},
            read_bufsize=_READ_BYTES,
        )

    async def stop(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def get(self, kind: Kind, key: Key) -> Json | None:
        try:
            return await self._request("GET", kind, key)
        except NotFound:
            return None

    async def list(self, kind: Kind, namespace: str | None, labels: str = "", fields: str = "") -> Page:
        """Return all selected objects and the version to watch from."""
        pages = [page async for page in self.pages(kind, namespace, labels, fields)]
        return [item for items, _ in pages for item in items], pages[-1][1]

    async def pages(self, kind: Kind, namespace: str | None, labels: str = "", fields: str = "") -> AsyncIterator[Page]:
        """Yield all selected objects in pages, each with the version to watch from after the last page."""
        query = {"limit": str(_PAGE), "labelSelector": labels, "fieldSelector": fields}
        while True:
            page = await self._request("GET", kind, Key(namespace or "", ""), query=query, verb="list")
            yield page["items"], page["metadata"]["resourceVersion"]
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return

    async def watch(
        self, kind: Kind, namespace: str | None, version: str, labels: str = ""
    ) -> AsyncIterator[tuple[str, Json]]:
        """Yield (type, object) of each change after `version`, bookmarks too, until the server ends it or is
        silent. Raises Gone.
        """
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        query |= {"timeoutSeconds": str(WATCH_SECONDS)} | ({"labelSelector": labels} if labels else {})
        path = kind.path(namespace)
        response = await self._send("GET", path, query=query, timeout=self._watch_timeout)
        self._requests.labels("watch", kind.plural, response.status).inc()
        try:
            if response.status != 200:
                raise error_of(response.status, _body(await response.read()), f"watch {kind.plural}")
            async for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise error_of(event["object"].get("code", 500), event["object"], f"watch {kind.plural}")
                yield event["type"], event["object"]
        except aiohttp.SocketTimeoutError:
            log.info("watch was silent, so it is opened again", resource=kind.plural)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"watch {kind.plural}: {error or type(error).__name__}") from error
        finally:
            response.close()

    async def create(self, kind: Kind, obj: Json) -> Json:
        """Create the object. Raises Conflict if it exists."""
        query = {"fieldManager": self.field_manager}
        return await self._request("POST", kind, Key(key_of_object(obj).namespace, ""), query=query, body=obj)

    async def apply(self, kind: Kind, obj: Json) -> Json:
        """Server-side apply: set our fields to those of `obj`; fields of other managers stay.

        It changes objects of every owner; `arks.kit.kube.ownership` checks the owner first.
        """
        query = {"fieldManager": self.field_manager, "force": "true"}
        return await self._request("PATCH", kind, key_of_object(obj), query=query, body=obj, content="apply-patch+yaml")

    async def merge(self, kind: Kind, key: Key, patch: Json, subresource: str | None = None) -> Json:
        """Send a JSON merge patch. Raises Conflict if its `metadata.resourceVersion` is given and not current."""
        query = {"fieldManager": self.field_manager}
        return await self._request(
            "PATCH", kind, key, query=query, body=patch, content="merge-patch+json", subresource=subresource
        )

    async def replace_status(self, kind: Kind, key: Key, status: Json) -> None:
        """Set the whole status, whatever it was. Changes nothing if it is equal. Raises NotFound."""
        await self.json_patch(kind, key, [{"op": "add", "path": "/status", "value": status}], "status")

    async def json_patch(self, kind: Kind, key: Key, steps: Sequence[Json], subresource: str | None = None) -> Json:
        return await self._request("PATCH", kind, key, body=steps, content="json-patch+json", subresource=subresource)

    async def delete(self, kind: Kind, key: Key, grace_seconds: int | None = None, uid: str | None = None) -> bool:
        """Returns False if it does not exist. `grace_seconds` None: the object's own grace period.

        `uid`: raises Conflict if the object has another one.
        """
        options: Json = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:  # all in the body: the API server ignores the query of a request with a body
            await self._request("DELETE", kind, key, body=options)
        except NotFound:
            return False
        return True

    async def websocket(self, path: str, query: Mapping[str, str], protocol: str) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket, as streams of pods are. The caller closes it. Raises as other requests do."""
        if self._client is None or self._access is None:
            raise Unavailable("the connection to the API server has not been started")
        authorization = await self._access.authorization()
        headers = {"Accept": "*/*"}  # kubelets and containerd answer 406 to those that want JSON only
        try:
            return await self._client.ws_connect(
                self._access.url + path,
                params=query,
                headers=headers if authorization is None else headers | {"Authorization": authorization},
                protocols=(protocol,),
                proxy=self._access.proxy,
                max_msg_size=0,  # the server chooses
            )
        except aiohttp.WSServerHandshakeError as error:
            raise error_of(error.status, {"message": error.message}, f"websocket {path}") from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"websocket {path}: {error or type(error).__name__}") from error

    async def log_tail(self, pod: Key, container: str, lines: int) -> str:
        """Return the last lines of a container's log, each after its time and a space."""
        path = POD.path(pod.namespace, pod.name, "log")
        query = {"container": container, "tailLines": str(lines), "timestamps": "true"}
        response = await self._send("GET", path, query=query)
        try:
            answer = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"GET {path}: {error or type(error).__name__}") from error
        self._requests.labels("get", "pods/log", response.status).inc()
        if response.status >= 300:
            raise error_of(response.status, _body(answer), f"log of Pod {pod}")
        return answer.decode(errors="replace")

    async def _request(
        self,
        method: str,
        kind: Kind,
        key: Key,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content: str = "json",
        subresource: str | None = None,
        verb: str | None = None,
    ) -> Json:
        path = kind.path(key.namespace or None, key.name or None, subresource)
        response = await self._send(method, path, query=query, body=body, content=content)
        try:
            answer = _body(await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"{method} {path}: {error or type(error).__name__}") from error
        self._requests.labels(verb or method.lower(), kind.plural, response.status).inc()
        if response.status >= 300:
            raise error_of(response.status, answer, f"{method.lower()} {kind.kind} {key}")
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content: str = "json",
        timeout: aiohttp.ClientTimeout = _TIMEOUT,  # noqa: ASYNC109  # aiohttp's own
    ) -> aiohttp.ClientResponse:
        """Send the request, again after the pause that an overloaded server names."""
        for _ in range(_TRIES - 1):
            response = await self._send_once(method, path, query=query, body=body, content=content, timeout=timeout)
            pause_seconds = _pause_seconds(response)
            if pause_seconds is None:
                return response
            response.close()
            await self._sleep(pause_seconds)
        return await self._send_once(method, path, query=query, body=body, content=content, timeout=timeout)

    async def _send_once(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        body: object,
        content: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's own
    ) -> aiohttp.ClientResponse:
        if self._client is None or self._access is None:
            raise Unavailable("the connection to the API server has not been started")
        headers = {} if body is None else {"Content-Type": f"application/{content}"}
        if (authorization := await self._access.authorization()) is not None:
            headers["Authorization"] = authorization
        try:
            return await self._client.request(
                method,
                self._access.url + path,
                params={name: value for name, value in (query or {}).items() if value},
                headers=headers,
                data=None if body is None else json.dumps(body).encode(),
                timeout=timeout,
                proxy=self._access.proxy,
            )
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{method} {path}: {error or type(error).__name__}") from error


def _pause_seconds(response: aiohttp.ClientResponse) -> float | None:
    """The pause of a 429 (Retry-After, in seconds) after which a request may be repeated; None: it is not repeated."""
    given = response.headers.get("Retry-After", "")
    if response.status != _THROTTLED or not (given.isascii() and given.isdigit()):
        return None
    return float(given) if float(given) <= _LONGEST_PAUSE_SECONDS else None


def _body(raw: bytes) -> Json:
    try:
        return dict(json.loads(raw))
    except ValueError:
        return {"message": raw.decode(errors="replace")[:500]}


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield whole lines of any length; aiohttp's own line reader rejects lines over 64 KB."""
    rest = bytearray()
    async for chunk in response.content.iter_any():
        rest += chunk
        *whole, last = rest.split(b"\n")
        rest = bytearray(last)
        for line in whole:
            if line:
                yield bytes(line)
