"""API keys: which text may be one, and the hash that is stored in its place."""

import hmac
import re

MAX_KEY_LENGTH = 1024
KEY_PATTERN = "^[!-~]+$"
KEY_REQUIREMENT = f"1 to {MAX_KEY_LENGTH} visible ASCII characters without blanks"
"""Goes after "must be"."""
HASH_PREFIX = "hmac-sha256:"
HASH_PATTERN = r"^hmac-sha256:[0-9a-f]{64}$"
HASH_REQUIREMENT = "'hmac-sha256:' and 64 hexadecimal digits in small letters"
"""Goes after "must be"."""


def is_key(text: str) -> bool:
    """Whether `text` can be an API key: see KEY_REQUIREMENT, which is what a header carries."""
    return len(text) <= MAX_KEY_LENGTH and re.fullmatch(KEY_PATTERN, text) is not None


def is_key_hash(text: str) -> bool:
    return re.fullmatch(HASH_PATTERN, text) is not None


def hash_key(pepper: bytes, key: str) -> str:
    """What is stored in place of a key: `hmac-sha256:<64 hexadecimal digits>`, HMAC-SHA256 keyed with `pepper`."""
    return HASH_PREFIX + key_digest(pepper, key).hex()


def key_digest(pepper: bytes, key: str) -> bytes:
    """The hash of `hash_key` as 32 bytes, for those who keep many."""
    return hmac.digest(pepper, key.encode(), "sha256")


def digest_of(key_hash: str) -> bytes:
    """The bytes of a hash as `hash_key` writes it."""
    return bytes.fromhex(key_hash.removeprefix(HASH_PREFIX))
