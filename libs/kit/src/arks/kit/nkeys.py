"""NATS' nkeys: an Ed25519 key in base32, with a prefix of its kind and a checksum.

The package `nkeys`, which NATS' client imports for this, has no wheel, and images are built of wheels.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

_PREFIX_USER = 20 << 3
_SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a file of `nsc` holds for one user."""

    jwt: str
    seed: str


def read_credentials(text: str) -> Credentials:
    """The JWT and the seed between their lines of dashes. Raises ValueError if one is missing."""
    parts = re.findall(r"-----BEGIN ([A-Z ]+)-----\s+(\S+)\s+-+END", text)
    found = dict(parts)
    try:
        return Credentials(found["NATS USER JWT"], found["USER NKEY SEED"])
    except KeyError as error:
        raise ValueError(f"the file of credentials has no {error.args[0]}") from None


def signing_key(seed: str) -> Any:
    """The key of a seed (`SU...`). Raises ValueError."""
    from nacl.signing import SigningKey  # noqa: PLC0415  # 2 MB that other ways to log in do not need

    try:
        raw = base64.b32decode(seed.strip() + "=" * (-len(seed.strip()) % 8))
    except binascii.Error:
        raise ValueError("the seed of the nkey is not in base32") from None
    if len(raw) != 2 + _SEED_BYTES + 2 or _checksum(raw[:-2]) != raw[-2:]:
        raise ValueError("the seed of the nkey is not complete")
    return SigningKey(raw[2:-2])


def sign(seed: str, nonce: str) -> bytes:
    """The signature in base64, as the client sends it."""
    return base64.b64encode(signing_key(seed).sign(nonce.encode()).signature)


def public_key(seed: str) -> str:
    """The user's public key (`U...`)."""
    raw = bytes([_PREFIX_USER]) + bytes(signing_key(seed).verify_key)
    return base64.b32encode(raw + _checksum(raw)).decode().rstrip("=")


def _checksum(raw: bytes) -> bytes:
    """CRC-16/XMODEM, little endian."""
    return binascii.crc_hqx(raw, 0).to_bytes(2, "little")
