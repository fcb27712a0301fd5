"""The pure parts of the gateway's native filter (libs/gateway-filter), called in this process.

The library is the one that Envoy loads, built with the feature `testing`, which adds `arks_call`.
"""

import ctypes
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_RECEIVE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)
_LENGTH = struct.Struct("<I")
_ABSENT = 0xFFFFFFFF


def library_path() -> Path:
    """Return where the build of the checkout puts the library."""
    return Path(__file__).parents[6] / "libs/gateway-filter/target/testing/release/libarks.so"


def call(name: str, *members: bytes | None) -> list[bytes | None]:
    """Call a function of the library. Ends the process if there is none of that name."""
    packed, received = b"".join(map(_packed, (name.encode(), *members))), list[bytes]()

    def receive(start: int, length: int) -> None:
        received.append(ctypes.string_at(start, length))

    _library().arks_call(packed, len(packed), _RECEIVE(receive))
    return list(_unpacked(received[0]))


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(library_path()))
    library.arks_call.argtypes = [ctypes.c_char_p, ctypes.c_size_t, _RECEIVE]
    library.arks_call.restype = None
    return library


def _packed(member: bytes | None) -> bytes:
    return _LENGTH.pack(_ABSENT) if member is None else _LENGTH.pack(len(member)) + member


def _unpacked(members: bytes) -> Iterator[bytes | None]:
    at = 0
    while at < len(members):
        (length,) = _LENGTH.unpack_from(members, at)
        at += _LENGTH.size
        if length == _ABSENT:
            yield None
        else:
            yield members[at : at + length]
            at += length
