"""Read resources in one short conversation with NATS, in a tenth of the time that the imports of its client take.

For commands that list and look. Everything that writes or follows uses `store`. Standard library only.
The protocol: https://docs.nats.io/reference/reference-protocols/nats-protocol; the consumer: JetStream's API.
"""

import json
import re
import secrets
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

_HOST = "127.0.0.1"
_TIMEOUT_SECONDS = 5.0
_STREAM = "KV_arks-resources"
_PREFIX = "$KV.arks-resources"
_ESCAPE = re.compile("=([0-9A-F]{2})")

Object = dict[str, Any]


class SnapshotUnavailable(Exception):
    """NATS did not answer; the message has the reason."""


def read_resources(port: int, token_file: Path, plurals: Sequence[str]) -> dict[str, list[Object]]:
    """All resources of the kinds, by plural, sorted by namespace and name. Raises SnapshotUnavailable."""
    found: dict[str, list[Object]] = {plural: [] for plural in plurals}
    try:
        token = token_file.read_text().strip()
        address = (_HOST, port)
        with (
            socket.create_connection(address, timeout=_TIMEOUT_SECONDS) as connection,
            connection.makefile("rb") as received,
        ):
            conversation = _Conversation(connection, received)
            conversation.open(token)
            for subject, revision, resource in conversation.last_of_each(plurals):
                resource["metadata"]["resourceVersion"] = str(revision)
                found[_decoded(subject.split(".")[2])].append(resource)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise SnapshotUnavailable(f"NATS at port {port} does not answer: {error or type(error).__name__}") from error
    for resources in found.values():
        resources.sort(key=lambda resource: (resource["metadata"]["namespace"], resource["metadata"]["name"]))
    return found


def _decoded(part: str) -> str:
    """A part of a subject as it was before `arks.contracts.subjects.encode`."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), part)


class _Conversation:
    """The lines of NATS' protocol. Raises OSError and ValueError."""

    def __init__(self, connection: socket.socket, received: BinaryIO) -> None:
        self._connection = connection
        self._received = received
        inbox = f"_INBOX.{secrets.token_hex(8)}"  # a former consumer may still deliver to its own one
        self._messages, self._replies = f"{inbox}.messages", f"{inbox}.replies"

    def open(self, token: str) -> None:
        options = {"auth_token": token, "verbose": False, "pedantic": False, "headers": True, "no_responders": True}
        options |= {"name": "arks-cli", "lang": "python", "version": "1", "protocol": 1}
        self._connection.sendall(
            b"CONNECT %s\r\nSUB %s 1\r\nSUB %s 2\r\n"
            % (json.dumps(options).encode(), self._messages.encode(), self._replies.encode())
        )

    def last_of_each(self, plurals: Sequence[str]) -> Iterator[tuple[str, int, Object]]:
        """The newest message of each subject of the kinds: subject, sequence, resource."""
        config = {
            "filter_subjects": [f"{_PREFIX}.{plural}.>" for plural in plurals],
            "deliver_subject": self._messages,
            "deliver_policy": "last_per_subject",
            "ack_policy": "none",
            "replay_policy": "instant",
            "inactive_threshold": int(_TIMEOUT_SECONDS * 1e9),
            "mem_storage": True,
            "num_replicas": 1,
        }
        request = json.dumps({"stream_name": _STREAM, "config": config}).encode()
        self._connection.sendall(
            b"PUB $JS.API.CONSUMER.CREATE.%s %s %d\r\n%s\r\n"
            % (_STREAM.encode(), self._replies.encode(), len(request), request)
        )
        expected: int | None = None
        arrived: list[tuple[str, int, bytes]] = []
        while expected is None or len(arrived) < expected:
            subject, reply, deleted, payload = self._message()
            if reply.startswith("$JS.ACK."):
                arrived.append((subject, int(reply.split(".")[-4]), b"" if deleted else payload))
            else:
                expected = _count(payload)
        return ((subject, revision, json.loads(payload)) for subject, revision, payload in arrived if payload)

    def _message(self) -> tuple[str, str, bool, bytes]:
        """The next message: subject, reply, whether it marks a deletion, payload."""
        while True:
            words = self._received.readline().decode().split()
            match words[:1]:
                case ["PING"]:
                    self._connection.sendall(b"PONG\r\n")
                case ["MSG"]:
                    body = self._received.read(int(words[-1]) + 2)[:-2]
                    return words[1], words[3] if len(words) == 5 else "", False, body
                case ["HMSG"]:
                    header_size, size = int(words[-2]), int(words[-1])
                    body = self._received.read(size + 2)[:-2]
                    headers = body[:header_size]
                    return (
                        words[1],
                        words[3] if len(words) == 6 else "",
                        b"KV-Operation:" in headers,
                        body[header_size:],
                    )
                case ["-ERR"]:
                    raise ValueError(" ".join(words[1:]))
                case []:
                    raise ValueError("the connection was closed")


def _count(payload: bytes) -> int:
    """The number of messages that the new consumer will deliver."""
    answer = json.loads(payload or b"{}")
    if "error" in answer:
        raise ValueError(answer["error"].get("description", "unknown error"))
    delivered: int = answer["delivered"]["consumer_seq"]
    return int(answer["num_pending"]) + delivered
