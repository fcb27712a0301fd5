"""Which version of an engine an image has, from its tag. Pure."""

import re

NEWEST = "99999"
"""What `latest` and `nightly` count as."""
_MOVING = re.compile(r"latest|nightly|main")
_WITH_V = re.compile(r"(?:^|[-_.])v(\d+(?:\.\d+)+)")
_WITHOUT_V = re.compile(r"^(\d+(?:\.\d+)+)")


def version_of(image: str) -> str | None:
    """`0.8.2` for `vllm/vllm-openai:v0.8.2`; None for an image that does not have it in its tag."""
    name = image.partition("@")[0].rpartition("/")[2]
    tag = name.partition(":")[2]
    if found := _WITH_V.search(tag) or _WITHOUT_V.match(tag):
        return found[1]
    return NEWEST if _MOVING.match(tag) else None
