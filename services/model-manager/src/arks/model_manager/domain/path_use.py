"""Models that want the same storage: who has it, who shares it, what becomes of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from arks.kit.key import Key
from arks.model_manager.domain.source import Order, SourceKind


class Removal(StrEnum):
    """What became of a place's files."""

    REMOVED = "removed"
    KEPT = "kept"
    """Arks did not make their storage."""
    SHARED = "shared"
    """Another model uses them; their storage is that one's now."""
    LENT = "lent"
    """Running engines use them: they stay as long as those, unless a model comes that uses them again."""
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Claim:
    """A model that wants a place: a path in some storage, `/` between its parts."""

    key: Key
    place: str
    order: Order
    created_at: datetime

    @property
    def writes(self) -> bool:
        return self.order.kind is SourceKind.HUB


class ClaimBook:
    """Every model's claim, found by place: with hundreds of models none is held against all the others."""

    def __init__(self) -> None:
        self._claims: dict[Key, Claim] = {}
        self._at: dict[str, set[Key]] = {}
        self._under: dict[str, set[Key]] = {}
        """By each part of the way to a place."""

    def put(self, claim: Claim) -> None:
        self.drop(claim.key)
        self._claims[claim.key] = claim
        self._at.setdefault(claim.place, set()).add(claim.key)
        for way in _ways(claim.place):
            self._under.setdefault(way, set()).add(claim.key)

    def drop(self, key: Key) -> None:
        claim = self._claims.pop(key, None)
        if claim is None:
            return
        for index, names in ((self._at, [claim.place]), (self._under, _ways(claim.place))):
            for name in names:
                index[name].discard(key)
                if not index[name]:
                    del index[name]

    def near(self, place: str) -> list[Claim]:
        """Those whose places overlap with this one."""
        keys = set(self._under.get(place, ()))
        for way in _ways(place):
            keys |= self._at.get(way, set())
        return [self._claims[key] for key in sorted(keys)]


def _ways(place: str) -> list[str]:
    """The place and every one that it lies in: `a/b/c`, `a/b`, `a`."""
    parts = place.split("/")
    return ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]


def overlap(first: str, second: str) -> bool:
    """Whether two places are the same or one lies inside the other."""
    return f"{first}/".startswith(f"{second}/") or f"{second}/".startswith(f"{first}/")


def conflict_of(mine: Claim, others: Iterable[Claim]) -> str | None:
    """Why `mine` may not have its place. The oldest model has it, and all that want the same weights with it."""
    if not mine.writes:
        return None
    writers = [other for other in others if other.writes and other.key != mine.key and overlap(mine.place, other.place)]
    first = min([mine, *writers], key=lambda claim: (claim.created_at, claim.key))
    if first is mine or (first.place == mine.place and first.order.fingerprint == mine.order.fingerprint):
        return None
    return (
        f"the storage {mine.place} is taken: ArksModel {first.key} keeps {first.order.origin} in {first.place}; "
        "give another storage.subPath"
    )


def users_of(place: str, claims: Iterable[Claim], besides: Key) -> list[Key]:
    """Other models that use the place or a part of it."""
    return sorted(claim.key for claim in claims if claim.key != besides and overlap(claim.place, place))
