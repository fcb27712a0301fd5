"""Compares objects that the API server has completed with what was written."""


def contains(found: object, desired: object) -> bool:
    """Return whether `found` holds everything in `desired`; the API server adds defaults."""
    if isinstance(desired, dict):
        return isinstance(found, dict) and all(contains(found.get(name), value) for name, value in desired.items())
    if isinstance(desired, list):
        if not isinstance(found, list) or len(found) != len(desired):
            return False
        return all(contains(*pair) for pair in zip(found, desired, strict=True))
    return found == desired
