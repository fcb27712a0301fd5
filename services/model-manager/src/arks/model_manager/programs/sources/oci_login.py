"""Log in to an OCI registry: HTTP Basic, or a token of the server that the registry names."""

import base64
import binascii
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.request import parse_http_list, parse_keqv_list

import httpx2

from arks.model_manager.domain.failures import DownloadFailed, FailureKind
from arks.model_manager.programs.sources.oci_reference import Reference

_PASSING = {408, 429, 500, 502, 503, 504}


class Login:
    def __init__(self, client: httpx2.Client, reference: Reference, credentials: Mapping[str, str]) -> None:
        self._client = client
        self._reference = reference
        self._user = _user(credentials, reference)
        self._lock = threading.Lock()
        self.headers: dict[str, str] = {}
        """Of requests to the registry."""

    @property
    def advice(self) -> str:
        if self._user is None:
            return f"it may be private: source.oci.secretRef has no login for {self._reference.registry}"
        return "the login of source.oci.secretRef gives no access to it"

    @contextmanager
    def stream(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx2.Response]:
        """A successful response, after a login if the registry wants one. Raises DownloadFailed."""
        try:
            with self._client.stream("GET", url, headers={**headers, **self.headers}) as response:
                if response.status_code != 401:
                    yield self._checked(response)
                    return
                challenge = response.headers.get("www-authenticate", "")
            self._answer(challenge)
            with self._client.stream("GET", url, headers={**headers, **self.headers}) as response:
                yield self._checked(response)
        except httpx2.HTTPError as error:
            message = f"{self._reference.registry} cannot be reached ({type(error).__name__})"
            raise DownloadFailed(FailureKind.NETWORK, message) from None

    def renew(self, url: str) -> None:
        """Log in again, because the token has expired. Raises DownloadFailed."""
        with self._lock:
            self.headers = {}
            with self.stream(url, {"range": "bytes=0-0"}):
                return

    def _answer(self, challenge: str) -> None:
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self._user is not None:
            self.headers = {"authorization": _basic(self._user)}
        if scheme.lower() == "bearer":
            self.headers = {"authorization": f"Bearer {self._token(parse_keqv_list(parse_http_list(rest)))}"}

    def _token(self, parameters: dict[str, str]) -> str:
        scope = parameters.get("scope") or f"repository:{self._reference.repository}:pull"
        query = {"service": parameters.get("service", ""), "scope": scope}
        headers = {"authorization": _basic(self._user)} if self._user is not None else {}
        response = self._client.get(parameters.get("realm", ""), params=query, headers=headers)
        if response.status_code in {401, 403}:
            message = f"{self._reference.registry} refuses the login ({response.status_code}); {self.advice}"
            raise DownloadFailed(FailureKind.DENIED, message)
        try:
            answer = response.json()
            return str(answer.get("token") or answer["access_token"])
        except (ValueError, KeyError, AttributeError) as error:
            message = f"the login server of {self._reference.registry} answered {response.status_code} without a token"
            raise DownloadFailed(FailureKind.NETWORK, message) from error

    def _checked(self, response: httpx2.Response) -> httpx2.Response:
        status = response.status_code
        name = f"{self._reference.registry}/{self._reference.repository}"
        if status in {401, 403}:
            raise DownloadFailed(FailureKind.DENIED, f"{name} was refused ({status}); {self.advice}")
        if status == 404:
            raise DownloadFailed(FailureKind.NOT_FOUND, f"{name} has no {self._reference.version} (404)")
        if status >= 300:
            kind = FailureKind.NETWORK if status in _PASSING else FailureKind.INVALID
            raise DownloadFailed(kind, f"{name}: the registry answered {status}")
        return response


def _basic(user: tuple[str, str]) -> str:
    return f"Basic {base64.b64encode(':'.join(user).encode()).decode()}"


def _user(credentials: Mapping[str, str], reference: Reference) -> tuple[str, str] | None:
    """User and password: given as such, or in a Docker configuration under the registry's name."""
    if "USERNAME" in credentials:
        return credentials["USERNAME"], credentials.get("PASSWORD", "")
    try:
        logins: dict[str, Any] = json.loads(credentials.get("DOCKER_CONFIG_JSON", "{}"))["auths"]
        for address, login in logins.items():
            if _host(address) in {reference.registry, reference.host}:
                return _login(login)
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        return None
    return None


def _host(address: str) -> str:
    """Docker writes its own registry as a URL."""
    host = address.partition("://")[2] or address
    host = host.partition("/")[0]
    return "docker.io" if host == "index.docker.io" else host


def _login(login: dict[str, str]) -> tuple[str, str]:
    if "username" in login:
        return login["username"], login.get("password", "")
    user, _, password = base64.b64decode(login["auth"]).decode().partition(":")
    return user, password
