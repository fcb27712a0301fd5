"""Which replicas of metrics exist, and which of them reads and reports each application. Pure.

Each application belongs to the member with the highest hash of both (rendezvous hashing: Thaler and Ravishankar, "Using
name-based mappings to increase hit rates", 1998). So all members that see the same members agree without a further
message, and only the applications of a member that comes or goes move. A member that has just started reads what will
be its own beside the member that reports it, and takes over once it has speeds.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b

from arks.kit.key import Key

BEAT_SECONDS = 0.5
"""Interval at which a member shows that it is there, while there are others."""
ALONE_SECONDS = 2.0
"""The same without others: one that starts is answered at once."""
GONE_SECONDS = 1.6
"""A member that was silent for so long is gone: three beats are missing. Its applications have reports again before the
last ones are 3 s old, when routing stops believing them."""
ARRIVAL_SECONDS = 0.3
"""A member that starts waits so long for the others' answers."""
LATE_SECONDS = 1.0
"""Between two looks at the clock: this process was stopped or busy, and has not read what the others sent."""
WARM_SECONDS = 1.5
"""Of reading before a member takes over: speeds need a second."""
LONGEST_WARM_UP_SECONDS = 90.0
"""Then it takes over whatever it has read."""
MOST_MEMBERS = 256
"""Others are not noticed."""


@dataclass(frozen=True, slots=True)
class Member:
    """What a member sends of itself."""

    name: str
    """Of one process; another start has another name."""
    ready: bool = False
    """It reports the applications that are its own."""
    leaving: bool = False


@dataclass(slots=True)
class _Seen:
    member: Member
    at: float


def owner(key: Key, names: Iterable[str]) -> str:
    """Which of the members an application belongs to. Raises ValueError without members."""
    return max(names, key=lambda name: (blake2b(f"{name} {key}".encode(), digest_size=8).digest(), name))


class Members:
    """The members as one of them sees them. Times are monotonic seconds."""

    def __init__(self, name: str, changed: Callable[[], None] = lambda: None) -> None:
        """`changed` is called when `reads` or `reports` may differ. Nothing is read before `arrive`."""
        self.own = Member(name)
        self._arrived = False
        self._others: dict[str, _Seen] = {}
        self._looked_at: float | None = None
        self._present: tuple[str, ...] = ()
        self._ready: tuple[str, ...] = ()
        self.changed = changed

    @property
    def names(self) -> tuple[str, ...]:
        """Of all members that are present."""
        return self._present

    @property
    def alone(self) -> bool:
        return not self._others

    def arrive(self) -> None:
        """Begin to read. While no other member reports, this one does at once."""
        self._arrived = True
        self._update()

    def take_over(self) -> None:
        """Report what is ours from now on."""
        self.own = Member(self.own.name, ready=True)
        self._update()

    def depart(self) -> None:
        self.own = Member(self.own.name, leaving=True)
        self._update()

    def take(self, member: Member, now: float) -> bool:
        """Note what another member has sent. Returns whether it is new, and waits for an answer."""
        if member.name == self.own.name or (member.name not in self._others and len(self._others) >= MOST_MEMBERS):
            return False
        before = self._others.pop(member.name, None)
        if not member.leaving:
            self._others[member.name] = _Seen(member, now)
        if before is None or before.member != member:
            self._update()
        return before is None and not member.leaving

    def look(self, now: float, *, connected: bool) -> None:
        """Drop members that were silent for too long. `connected`: whether their messages can arrive."""
        late = self._looked_at is not None and now - self._looked_at > LATE_SECONDS
        self._looked_at = now
        if late or not connected:
            for seen in self._others.values():
                seen.at = now
            return
        gone = [name for name, seen in self._others.items() if now - seen.at > GONE_SECONDS]
        for name in gone:
            del self._others[name]
        if gone:
            self._update()

    def reads(self, key: Key) -> bool:
        """Whether this member reads the application: it reports it, or will once it is ready."""
        return self.owns(key) or self.reports(key)

    def owns(self, key: Key) -> bool:
        """Whether the application is ours once all members are ready."""
        return self.own.name in self._present and owner(key, self._present) == self.own.name

    def reports(self, key: Key) -> bool:
        """Whether this member reports the application: it is ours among those that are ready."""
        return self.own.name in self._ready and owner(key, self._ready) == self.own.name

    def _update(self) -> None:
        members = [seen.member for seen in self._others.values()]
        if self._arrived and not self.own.leaving:
            if not any(member.ready for member in members):
                self.own = Member(self.own.name, ready=True)  # no reports to wait beside
            members.append(self.own)
        self._present = tuple(sorted(member.name for member in members))
        self._ready = tuple(sorted(member.name for member in members if member.ready))
        self.changed()
