"""The program of `helm test`, run as in its pod, against servers with right and wrong answers."""

import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

CHECK = Path(__file__).parents[1] / "arks/files/check.py"
REFUSED = (401, '{"error": {"message": "no key", "type": "invalid_request_error", "param": null, "code": null}}')
READY = (200, "ok\n")


@contextmanager
def answering(answers: dict[str, tuple[int, str]], context: ssl.SSLContext | None = None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = answers[self.path]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def check(gateway: tuple[int, str], service: tuple[int, str], context: ssl.SSLContext | None = None) -> tuple[int, str]:
    """Exit status and output. Checks are not retried, because the answers never change."""
    source = CHECK.read_text().replace("TRIES_SECONDS = 60.0", "TRIES_SECONDS = 0.0")
    with answering({"/v1/models": gateway}, context) as at, answering({"/readyz": service}) as beside:
        command = [sys.executable, "-c", source, at, beside]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_working_installation_passes() -> None:
    status, output = check(REFUSED, READY)
    assert (0, 2) == (status, output.count("ok  "))


def test_the_certificate_of_the_gateway_may_be_for_another_name_than_the_service() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("models.example.com").configure_cert(context)
    status, output = check(REFUSED, READY, context)
    assert (0, 2) == (status, output.count("ok  "))


def test_a_service_that_is_not_ready_fails_with_its_own_message() -> None:
    status, output = check(REFUSED, (503, "NATS is away\n"))
    assert 1 == status
    assert "503 NATS is away" in output


@pytest.mark.parametrize(
    "answer",
    [(200, '{"object": "list", "data": []}'), (503, REFUSED[1]), (401, "who are you?"), (404, "")],
    ids=["open", "no token-quota", "not OpenAI's form", "no route"],
)
def test_a_gateway_without_the_expected_rejection_fails(answer: tuple[int, str]) -> None:
    status, output = check(answer, READY)
    assert 1 == status
    assert "FAIL" in output
