"""Quantities of Kubernetes (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/)."""

import re

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([KMGTPE]i|[kMGTPE]|m)?")
_UNITS = {unit: 1000**power for power, unit in enumerate(("", "k", "M", "G", "T", "P", "E"))} | {
    f"{unit}i": 1024**power for power, unit in enumerate("KMGTPE", start=1)
}


def bytes_in(text: object) -> int:
    """`8Gi` or `8000000000` in bytes; 0 for what is no amount of bytes."""
    found = _QUANTITY.fullmatch(str(text)) if isinstance(text, str | int) else None
    if found is None or found[2] == "m":
        return 0
    return int(float(found[1]) * _UNITS[found[2] or ""])
