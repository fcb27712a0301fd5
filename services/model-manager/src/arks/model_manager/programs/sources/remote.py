"""Read ranges of HTTP servers and object stores with obstore, and translate its errors.

obstore retries a refused connection, a 5xx and a 429 with backoff, and continues a body that breaks off if the server
gives an ETag. Its messages may hold signed addresses, so none of them is passed on.
"""

import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import (
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import HTTPStore

from arks.model_manager.domain.failures import DownloadFailed, FailureKind

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

BLOCK_BYTES = 256 * 1024
"""The most that a killed process loses of each stream."""
CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
_NO_LIMIT = timedelta(days=30)
"""Of a whole request: a slow line is no fault as long as bytes arrive."""
RETRY: "RetryConfig" = {
    "max_retries": 3,
    "retry_timeout": _NO_LIMIT,
    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=3), "base": 3},
}


def client_options(headers: Mapping[str, str] | None = None) -> "ClientConfig":
    """Time limits, and the certificates that SSL_CERT_FILE names. Proxy variables are read by obstore."""
    options: ClientConfig = {
        "allow_http": True,
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "read_timeout": timedelta(seconds=READ_SECONDS),
        "timeout": _NO_LIMIT,
    }
    if headers:
        options["default_headers"] = dict(headers)
    bundle = os.environ.get("SSL_CERT_FILE")
    if bundle and Path(bundle).is_file():
        options["root_certificate"] = Path(bundle).read_bytes()
    return options


def http_store(url: str, headers: Mapping[str, str] | None = None) -> HTTPStore:
    """The server's file at this address. Other hosts, after a redirect, get no Authorization header."""
    identity = {"accept-encoding": "identity"}  # a range of a compressed body is of no use
    given = tuple(sorted({**identity, **(headers or {})}.items()))
    return _http_store(url, given, os.environ.get("SSL_CERT_FILE"))


@lru_cache(maxsize=64)
def _http_store(url: str, headers: tuple[tuple[str, str], ...], _bundle: str | None) -> HTTPStore:
    """One client reads all ranges of a file: a new client costs 6 ms of CPU, and its connections their handshakes."""
    return HTTPStore.from_url(url, client_options=client_options(dict(headers)), retry_config=RETRY)


def read_range(
    store: "ObjectStore", path: str, start: int, end: int, *, what: str, if_match: str | None = None, denied: str = ""
) -> Iterator[bytes]:
    """Blocks of one object. `what`: for messages; `denied`: advice for refused access. Raises DownloadFailed."""
    options: GetOptions = {"range": (start, end)}
    if if_match is not None:
        options["if_match"] = if_match
    return _read(store, path, options, what, denied)


def read_whole(store: "ObjectStore", path: str, *, what: str, denied: str = "") -> Iterator[bytes]:
    """Blocks of an object whose server sends no ranges. Raises DownloadFailed."""
    return _read(store, path, {}, what, denied)


def _read(store: "ObjectStore", path: str, options: "GetOptions", what: str, denied: str) -> Iterator[bytes]:
    try:
        yield from obstore.get(store, path, options=options).stream(min_chunk_size=BLOCK_BYTES)
    except (BaseError, OSError, ValueError) as error:
        raise translated(error, what, denied) from None  # its text may hold a signed address


def translated(error: Exception, what: str, denied: str = "") -> DownloadFailed:
    """The error of a request for `what`, without the library's text."""
    advice = f"; {denied}" if denied else ""
    text = str(error)  # of a refused listing the library gives no class of its own
    if isinstance(error, UnauthenticatedError) or "401 Unauthorized" in text:
        return DownloadFailed(FailureKind.DENIED, f"{what} was refused (401){advice}")
    if isinstance(error, PermissionDeniedError) or "403 Forbidden" in text:
        return DownloadFailed(FailureKind.DENIED, f"{what} was refused (403){advice}")
    if isinstance(error, FileNotFoundError) or "404 Not Found" in text:
        return DownloadFailed(FailureKind.NOT_FOUND, f"{what} does not exist (404)")
    if isinstance(error, PreconditionError):
        return DownloadFailed(FailureKind.CORRUPT, f"{what} was replaced during its download; it starts over")
    if isinstance(error, NotSupportedError):
        return DownloadFailed(FailureKind.INVALID, f"{what}: the server does not send the range that was requested")
    return DownloadFailed(FailureKind.NETWORK, f"{what} cannot be read: {_cause(error)}")


def _cause(error: Exception) -> str:
    """What kind of fault it is, from fixed parts of the library's text."""
    text = str(error)
    for marker, cause in _CAUSES:
        if marker in text:
            return cause
    return "the connection failed"


_CAUSES = (
    ("429 Too Many Requests", "the server answered 429 (too many requests)"),
    ("500 Internal", "the server answered 500"),
    ("502 Bad", "the server answered 502"),
    ("503 Service", "the server answered 503 (unavailable)"),
    ("504 Gateway", "the server answered 504"),
    ("body error", "the connection broke off"),
    ("TimedOut", "no answer in time"),
    ("certificate", "its certificate is not trusted: name the private CA in SSL_CERT_FILE"),
    ("dns error", "the name of its host is not known"),
    ("Connection refused", "the connection was refused"),
)
