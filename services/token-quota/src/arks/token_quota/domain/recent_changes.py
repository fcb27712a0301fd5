"""What changed lately: by it a worker of the gateway knows which of its leases it may go on using."""

from collections.abc import Sequence
from math import inf, nextafter
from typing import Final

from arks.kit.key import Key

MARGIN_SECONDS: Final = 2.0
"""Another replica of token-quota may have seen a change so much earlier or later than this one."""
_KEPT_SECONDS: Final = 60.0
_MAX_NAMESPACES: Final = 1000
MAX_LISTED: Final = 100
"""More changes are not listed: then all leases end in the namespaces with the most changes. The list is a header."""


class RecentChanges:
    """The tokens and endpoints whose leases ended lately. Times are seconds that never run backwards.

    Each namespace has its own bound, so that a tenant with many changes ends no lease of another tenant.
    """

    def __init__(self, now_seconds: float) -> None:
        self._namespaces: dict[str, _Changes] = {}
        """In the order of their newest change."""
        self._complete_since = now_seconds

    def add(self, kind: str, key: Key, now_seconds: float) -> None:
        changes = self._namespaces.pop(key.namespace, None) or _Changes()
        self._namespaces[key.namespace] = changes
        changes.add(f"{kind}:{key}", now_seconds)
        while len(self._namespaces) > _MAX_NAMESPACES or self._oldest().newest < now_seconds - _KEPT_SECONDS:
            oldest = self._namespaces.pop(next(iter(self._namespaces)))
            self._complete_since = max(self._complete_since, nextafter(oldest.newest, inf))

    def _oldest(self) -> "_Changes":
        return next(iter(self._namespaces.values()))

    def since(self, seconds: float, now_seconds: float) -> list[str] | None:
        """The subjects that changed in the last `seconds` and a margin, sorted; `namespace:<name>` stands for all of a
        namespace. None if too many namespaces changed, or not all changes are known.
        """
        start = now_seconds - seconds - MARGIN_SECONDS
        if start < self._complete_since:
            return None
        found: dict[str, Sequence[str]] = {}
        for namespace, changes in reversed(self._namespaces.items()):
            if changes.newest < start:
                break
            found[namespace] = changes.since(start) or (whole(namespace),)
        return _shortened(found)


def whole(namespace: str) -> str:
    """The subject that stands for all tokens and endpoints of a namespace."""
    return f"namespace:{namespace}"


def is_whole(subject: str) -> bool:
    return subject.startswith(whole(""))


class _Changes:
    """The changes of one namespace."""

    def __init__(self) -> None:
        self._subjects: dict[str, float] = {}
        """Newest change of each subject, in that order."""
        self._complete_since = -inf

    @property
    def newest(self) -> float:
        return next(reversed(self._subjects.values()))

    def add(self, subject: str, now_seconds: float) -> None:
        self._subjects.pop(subject, None)
        self._subjects[subject] = now_seconds
        if len(self._subjects) > MAX_LISTED:
            self._complete_since = self._subjects.pop(next(iter(self._subjects)))

    def since(self, start: float) -> list[str] | None:
        """The subjects that changed; None if not all of them are known."""
        if start <= self._complete_since:
            return None
        found = []
        for subject, time in reversed(self._subjects.items()):
            if time < start:
                break
            found.append(subject)
        return found


def _shortened(found: dict[str, Sequence[str]]) -> list[str] | None:
    """At most MAX_LISTED subjects: the namespaces with the most are named as a whole. None if that does not suffice."""
    excess = sum(len(subjects) for subjects in found.values()) - MAX_LISTED
    for namespace in sorted(found, key=lambda each: len(found[each]), reverse=True):
        if excess <= 0:
            break
        excess -= len(found[namespace]) - 1
        found[namespace] = (whole(namespace),)
    return sorted(subject for subjects in found.values() for subject in subjects) if excess <= 0 else None
