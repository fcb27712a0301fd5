"""The Job that creates the Secret, run as in its pod against an API server of this test."""

import base64
import json
import os
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

SCRIPT = Path(__file__).parents[1] / "arks/files/secrets.py"
PATH = "/api/v1/namespaces/arks-system/secrets"
KEYS = {
    *("nats-token", "redis-password", "postgresql-password", "pepper"),
    *("gateway-token", "operator-token", "node-cache-key"),
}
Json = dict[str, Any]
RIGHT, WRONG = "Bearer of-the-pod", 401


class Secrets(BaseHTTPRequestHandler):
    """Secrets of one namespace; the first `conflicts` writes fail."""

    stored: Json
    conflicts: int

    def do_GET(self) -> None:
        found = self.stored.get(self.path.removeprefix(f"{PATH}/"))
        self.answer(200 if found else 404, found or {})

    def do_POST(self) -> None:
        made = self.body()
        self.write(made["metadata"]["name"], made, 201)

    def do_PATCH(self) -> None:
        name = self.path.removeprefix(f"{PATH}/")
        found, patch = self.stored[name], self.body()
        same = patch["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]
        assert same
        self.write(name, {**found, "data": {**found["data"], **patch["data"]}}, 200)

    def write(self, name: str, secret: Json, status: int) -> None:
        if type(self).conflicts:
            type(self).conflicts -= 1
            return self.answer(409, {})
        self.stored[name] = secret
        return self.answer(status, secret)

    def body(self) -> Json:
        read: Json = json.loads(self.rfile.read(int(self.headers["content-length"])))
        return read

    def answer(self, status: int, found: Json) -> None:
        self.send_response(status if self.headers["authorization"] == RIGHT else WRONG)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, format: str, *_: object) -> None:
        """Print nothing."""


@contextmanager
def api_server(authority: trustme.CA, handler: type[Secrets]) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def ran(stored: Json, conflicts: int = 0, account: str = "of-the-pod") -> "subprocess.CompletedProcess[str]":
        authority = trustme.CA()
        (tmp_path / "token").write_text(f"{account}\n")
        authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
        handler = type("Handler", (Secrets,), {"stored": stored, "conflicts": conflicts})
        with api_server(authority, handler) as port:
            server = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}
            environment = {**os.environ, **server, "ACCOUNT_DIR": str(tmp_path)}
            command = [sys.executable, "-c", SCRIPT.read_text(), "arks-system", "arks-secrets"]
            return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)

    return ran


def values(secret: Json) -> list[str]:
    return [base64.b64decode(value).decode() for value in secret["data"].values()]


def test_a_missing_secret_is_created_with_random_values(run: Run) -> None:
    stored: Json = {}
    done = run(stored)
    secret = stored["arks-secrets"]
    assert (0, KEYS) == (done.returncode, set(secret["data"]))
    assert len(KEYS) == len(set(values(secret)))
    assert all(re.fullmatch("a[0-9a-f]{48}", value) for value in values(secret))
    assert [] == [value for value in values(secret) if value in done.stdout + done.stderr]


def test_the_secret_is_no_part_of_a_release_that_helm_or_argo_cd_would_remove(run: Run) -> None:
    stored: Json = {}
    run(stored)
    metadata = stored["arks-secrets"]["metadata"]
    assert "app.kubernetes.io/instance" not in metadata["labels"]
    assert {"argocd.argoproj.io/sync-options": "Prune=false"} == metadata["annotations"]


def test_an_existing_secret_keeps_its_values_and_gets_the_keys_that_it_lacks(run: Run) -> None:
    kept = {"pepper": "b2xk"}
    stored: Json = {"arks-secrets": {"metadata": {"resourceVersion": "7"}, "data": kept}}
    assert 0 == run(stored).returncode
    assert (KEYS, "b2xk") == (set(stored["arks-secrets"]["data"]), stored["arks-secrets"]["data"]["pepper"])


def test_a_complete_secret_is_not_written(run: Run) -> None:
    complete = {"metadata": {"resourceVersion": "7"}, "data": dict.fromkeys(KEYS, "b2xk")}
    assert 0 == run({"arks-secrets": complete}, conflicts=99).returncode


def test_a_write_that_loses_a_race_is_repeated(run: Run) -> None:
    stored: Json = {}
    assert 0 == run(stored, conflicts=2).returncode
    assert KEYS == set(stored["arks-secrets"]["data"])


def test_without_the_right_the_job_fails_and_names_the_status(run: Run) -> None:
    done = run({}, account="of-another-pod")
    assert 1 == done.returncode
    assert "401" in done.stdout
