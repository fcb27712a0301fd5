"""The short conversation with NATS, against a server that speaks its lines."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from arks.kit.ports import free_port
from arks.local.client.snapshot import SnapshotUnavailable, read_resources

PREFIX = "$KV.arks-resources"


def stored(name: str) -> bytes:
    return json.dumps({"metadata": {"name": name, "namespace": "default"}}).encode()


@dataclass
class FakeNats:
    """Answers each connection: the messages of a stream, then the reply, as a real server may order them."""

    messages: list[tuple[str, bytes, bytes]]
    """Subject, headers, payload."""
    error: str = ""
    deliver_subjects: list[str] = field(default_factory=list)
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as received:
                self._converse(connection, received)
                # A connection that is closed with unread bytes in it is reset, and takes the answer along.
                connection.shutdown(socket.SHUT_WR)
                received.read()

    def _converse(self, connection: socket.socket, received: Any) -> None:
        connection.sendall(b'INFO {"server_id":"x"}\r\nPING\r\n')
        for line in received:
            if line.startswith(b"PUB"):
                reply, size = line.split()[2], int(line.split()[3])
                config = json.loads(received.read(size + 2))["config"]
                self.deliver_subjects.append(config["deliver_subject"])
                self._answer(connection, config["deliver_subject"].encode(), reply)
                return

    def _answer(self, connection: socket.socket, inbox: bytes, reply: bytes) -> None:
        if self.error:
            content = json.dumps({"error": {"description": self.error}}).encode()
            connection.sendall(b"MSG %s 2 %d\r\n%s\r\n" % (reply, len(content), content))
            return
        for number, (subject, headers, payload) in enumerate(self.messages, 1):
            ack = f"$JS.ACK.KV_arks-resources.c.1.{number}.{number}.0.0".encode()
            parts = (subject.encode(), ack, len(headers), len(headers) + len(payload), headers + payload)
            if headers:
                connection.sendall(b"HMSG %s 1 %s %d %d\r\n%s\r\n" % parts)
            else:
                connection.sendall(b"MSG %s 1 %s %d\r\n%s\r\n" % (parts[0], ack, len(payload), payload))
        content = json.dumps({"num_pending": len(self.messages), "delivered": {"consumer_seq": 0}}).encode()
        connection.sendall(b"MSG %s 2 %d\r\n%s\r\n" % (reply, len(content), content))


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("secret\n")
    return tmp_path / "token"


@pytest.fixture
def nats() -> Iterator[FakeNats]:
    deleted = b"NATS/1.0\r\nKV-Operation: DEL\r\n\r\n"
    server = FakeNats(
        [
            (f"{PREFIX}.arksmodels.default.qwen", b"", stored("qwen")),
            (f"{PREFIX}.arksmodels.default.gone", deleted, b""),
            (f"{PREFIX}.arksendpoints.default.a", b"", stored("a")),
            (f"{PREFIX}.arksmodels.default.phi", b"", stored("phi")),
        ]
    )
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield server
    server.listener.shutdown(socket.SHUT_RDWR)
    server.listener.close()
    thread.join(5)


def test_resources_are_read_by_kind_in_order_without_deleted_ones(nats: FakeNats, token_file: Path) -> None:
    found = read_resources(nats.port, token_file, ["arksmodels", "arksendpoints"])
    names = {plural: [item["metadata"]["name"] for item in items] for plural, items in found.items()}
    assert {"arksmodels": ["phi", "qwen"], "arksendpoints": ["a"]} == names
    assert "1" == found["arksmodels"][1]["metadata"]["resourceVersion"]


def test_each_conversation_has_an_inbox_of_its_own(nats: FakeNats, token_file: Path) -> None:
    for _ in range(2):
        read_resources(nats.port, token_file, ["arksmodels", "arksendpoints"])
    assert 2 == len(set(nats.deliver_subjects))


def test_an_error_of_the_server_is_reported(nats: FakeNats, token_file: Path) -> None:
    nats.error = "stream not found"
    with pytest.raises(SnapshotUnavailable, match="stream not found"):
        read_resources(nats.port, token_file, ["arksmodels"])


def test_a_server_that_does_not_listen_is_reported(token_file: Path) -> None:
    with pytest.raises(SnapshotUnavailable, match="does not answer"):
        read_resources(free_port(), token_file, ["arksmodels"])
