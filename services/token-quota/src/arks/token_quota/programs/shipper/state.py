"""What the shipper keeps over a restart: one file, replaced as a whole before anything is published."""

import json
import secrets
from pathlib import Path

import msgspec
import structlog

from arks.kit.files import write_atomically
from arks.token_quota.domain.lease_book import BookState

log = structlog.get_logger(__name__)


class Position(msgspec.Struct, frozen=True):
    """How far a file was read."""

    inode: int
    offset_bytes: int


class Message(msgspec.Struct, frozen=True):
    """One message for the stream, byte for byte."""

    subject: str
    id: str
    payload: bytes
    records: int


class ShipperState(msgspec.Struct):
    identity: str
    """Random, new at each start of a shipper: ids of messages begin with it, so no id is used twice even if the file is
    lost, or an older one comes back after a power cut.
    """
    flush: int = 0
    """Number of the last flush."""
    ends: Position | None = None
    starts: Position | None = None
    book: BookState = msgspec.field(default_factory=BookState)
    messages: list[Message] = []
    """Those of the last flush: published again after a restart, with the same ids."""


class StateFile:
    def __init__(self, usage_log: Path) -> None:
        self._path = usage_log.with_name(usage_log.name + ".state")
        self._old_path = usage_log.with_name(usage_log.name + ".position")

    def load(self) -> ShipperState:
        """A new state if there is none. One that cannot be read is put aside: the log is shipped again, and the ledger
        recognises requests that it has.
        """
        try:
            state = msgspec.msgpack.decode(self._path.read_bytes(), type=ShipperState)
        except FileNotFoundError:
            return ShipperState(_new_identity(), ends=self._position_of_0_1())
        except (msgspec.MsgspecError, ValueError) as error:
            log.error("the shipper's state cannot be read: the usage log is shipped again", error=str(error))
            self._path.replace(self._path.with_name(self._path.name + ".damaged"))
            return ShipperState(_new_identity())
        state.identity = _new_identity()
        return state

    def save(self, state: ShipperState) -> None:
        """Not forced onto the disk: after a power cut an older state ships some lines again, and the ledger recognises
        their requests.
        """
        write_atomically(self._path, msgspec.msgpack.encode(state), mode=0o600)

    def _position_of_0_1(self) -> Position | None:
        try:
            kept = json.loads(self._old_path.read_text())
            return Position(int(kept["inode"]), int(kept["offsetBytes"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None


def _new_identity() -> str:
    return secrets.token_hex(8)
