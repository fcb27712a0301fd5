"""Shows how long the filter reads the largest body, 32 MiB of what costs it the most: its worker does nothing else.

usage: python -m bench.bodies [MiB]

The kinds are those of the test that holds the cost to the length
(services/endpoint-router/tests/adapters/envoy/test_admission_request.py).
"""

import argparse

from arks.endpoint_router.adapters.envoy import GatewaySettings
from arks.endpoint_router.testing.filter import seconds_to_read

MEBIBYTE = 1 << 20
KINDS = {
    "a prompt of plain text": (b'"', b"a question ", b'"'),
    "a string of escaped quotes": (b'"', b'\\"', b'"'),
    "a string of backslashes": (b'"', b"\\\\", b'"'),
    "an array of strings": (b"[", b'"",', b"1]"),
    "an array of arrays": (b"[", b"[],", b"1]"),
    "white space": (b"", b" ", b"1"),
}
RUNS = 3


def body(kind: str, size_bytes: int) -> bytes:
    start, piece, end = KINDS[kind]
    head, tail = b'{"model":"m","x":' + start, end + b"}"
    return head + piece * ((size_bytes - len(head) - len(tail)) // len(piece)) + tail


def main(size_bytes: int) -> None:
    print(f"{size_bytes / MEBIBYTE:g} MiB; the gateway takes at most {_limit_bytes() / MEBIBYTE:g}")
    for kind in KINDS:
        data = body(kind, size_bytes)
        seconds = min(seconds_to_read(data) for _ in range(RUNS))
        print(f"  {kind:<27} {seconds * 1e3:>6.0f} ms, {seconds * 1e3 * MEBIBYTE / size_bytes:>5.1f} ms a MiB")


def _limit_bytes() -> int:
    return GatewaySettings("-").body_limit_bytes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.bodies", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("size", nargs="?", type=float, default=32, metavar="MiB", help="default 32")
    main(int(parser.parse_args().size * MEBIBYTE))
