"""The compiled part of the domain (rust/): what every load report passes.

Values do not change: a report makes other ones. Times are seconds since the epoch, durations are seconds.
"""

from collections.abc import Mapping, Sequence

METADATA: str
"""Where the balancer and local replies find what a load assignment holds for them of each replica."""
RETRY_AFTER: str
"""In it: the seconds after which a rejected client may return."""
FORGET_SECONDS: float
"""After this much idle time, earlier measurements no longer count."""
WARM_UP_SECONDS: float
"""A replica's speed from rates counts after this much busy time."""
PROBE_PART: float
"""The least share of a group, as a part of its proportion by capacity: so that its speed stays known."""
LEAST_REQUESTS: int
"""The least limit of requests in flight: few slots do not make a burst of short requests an overload."""
RETRY_AFTER_STEPS: list[int]
"""Seconds after which clients of a full queue may return."""

class Report:
    """A load report, as metrics publishes it: `arks.events.v1.LoadReport`."""

    def __new__(cls, payload: bytes) -> Report:
        """Raises ValueError if the bytes are no such message."""

    @property
    def namespace(self) -> str: ...
    @property
    def application(self) -> str: ...
    @property
    def measured_at(self) -> float: ...
    @property
    def page_versions(self) -> list[str]:
        """What the pages of its engines look like, such as "vLLM 0.12 or newer"."""

    @property
    def missing_signals(self) -> list[str]:
        """Signals that the page of at least one replica lacks."""

class Reading:
    """One measurement. None: the engine does not report the value, which is not the same as 0."""

    def __new__(
        cls,
        measured_at: float,
        running: float | None = None,
        waiting: float | None = None,
        drain_rate: float | None = None,
        token_rate: float | None = None,
        kv_usage: float | None = None,
        slots: int = 0,
        tokens_total: float | None = None,
        finished_total: float | None = None,
        problem: str = "",
        held: bool = False,
    ) -> Reading: ...
    @property
    def measured_at(self) -> float: ...
    @property
    def running(self) -> float | None: ...
    @property
    def waiting(self) -> float | None: ...
    @property
    def drain_rate(self) -> float | None:
        """Finished requests a second, over busy time."""

    @property
    def token_rate(self) -> float | None:
        """Generated tokens a second."""

    @property
    def kv_usage(self) -> float | None:
        """0 to 1."""

    @property
    def slots(self) -> int:
        """0 if unknown."""

    @property
    def tokens_total(self) -> float | None:
        """Generated tokens since the engine's start."""

    @property
    def finished_total(self) -> float | None:
        """Finished requests since the engine's start."""

    @property
    def problem(self) -> str: ...
    @property
    def held(self) -> bool:
        """Whether the engine has finished, and `running` is what it was before."""

    @property
    def in_flight(self) -> float: ...
    def at(self, measured_at: float) -> Reading:
        """Return the same numbers at another time."""

class Signals:
    """The newest reading of a replica, and what follows from it and the earlier ones."""

    def __new__(
        cls,
        reading: Reading,
        *,
        updated_at: float,
        busy_at: float,
        busy_seconds: float,
        mean_waiting: float,
        mean_in_flight: float,
        tokens: tuple[float, float, float],
        requests: tuple[float, float, float],
        most_running: float,
    ) -> Signals:
        """Return what follows from readings with rates. `tokens`, `requests`: (seconds, slot-seconds, amount)."""

    @property
    def reading(self) -> Reading: ...
    @property
    def updated_at(self) -> float | None:
        """Time of the newest plausible reading."""

    @property
    def busy_seconds(self) -> float: ...
    @property
    def mean_waiting(self) -> float: ...
    @property
    def mean_in_flight(self) -> float: ...
    def speed(self, unit: str) -> float | None:
        """Return the work that one slot completes in a second; None until enough work has been measured.

        `unit`: "tokens" or "requests". Raises ValueError for another one.
        """

    def doubt(self, now: float, stale_seconds: float, stale_idle_seconds: float) -> str | None:
        """Return why the newest reading cannot be used, for users; None if it can.

        `stale_seconds`: the age from which it cannot; `stale_idle_seconds`: that of a replica without work.
        """

def observe(before: Signals | None, reading: Reading) -> Signals:
    """Add one reading. An implausible one changes no mean, and is kept as the newest so that it can be explained."""

class Loads:
    """The signals of the replicas of one application."""

    def __new__(cls) -> Loads: ...
    def of(self, replicas: Sequence[tuple[str, int, int]]) -> Loads:
        """Return what holds for these replicas, each (name, restarts, port): a restart begins anew."""

    def after(self, report: Report) -> Loads | None:
        """Return what holds after a report; None if it is older than the last one, or has nothing new."""

    def has_pages_of(self, report: Report) -> bool:
        """Return whether the last report that had something new showed the same of the engines' pages."""

    @property
    def confirmed(self) -> bool:
        """Whether the last report showed only that the readings before it still hold: of replicas without work."""

    def with_reading(self, name: str, restarts: int, reading: Reading) -> Loads:
        """Return what holds after one reading of a replica, which is added if it is new."""

    def with_signals(self, found: Sequence[tuple[str, int, Signals]]) -> Loads:
        """Return the loads of these replicas, each (name, restarts, signals)."""

    def signals(self, name: str, restarts: int) -> Signals | None:
        """Return the signals of one run of a replica; None before the first reading."""

class Evidence:
    """What the last reading of a replica and the earlier ones show, for users."""

    @property
    def reading(self) -> Reading: ...
    @property
    def mean_waiting(self) -> float: ...
    @property
    def mean_in_flight(self) -> float: ...
    @property
    def full_at(self) -> float | None:
        """Slots as requests that waited show them."""

    def speed(self, unit: str) -> float | None:
        """As of Signals."""

class RankedGroup:
    """Replicas that are alike, in a comparison."""

    @property
    def name(self) -> str:
        """Stable and unique among the groups of all applications of the endpoint's namespace."""

    @property
    def size(self) -> int: ...
    @property
    def share(self) -> float:
        """Of the application's traffic, 0 to 1."""

    @property
    def target(self) -> float:
        """The share that follows from the newest reports; `share` stays while it differs by little."""

    @property
    def weight(self) -> int:
        """Its part of the application's weight."""

    @property
    def member_weight(self) -> int:
        """The weight that each member is shown with."""

class Comparisons:
    """The replicas of each application of an endpoint compared, in the order of its pools."""

    @staticmethod
    def restored(applications: Sequence[tuple[str, Sequence[tuple[str, int, str, float]]]]) -> Comparisons:
        """Return the comparisons that a status shows.

        Each application is (name, replicas), each replica (name, restarts, group, share).
        """

    @property
    def groups(self) -> list[list[RankedGroup]]:
        """Of each application, sorted by name."""

    @property
    def members(self) -> list[list[tuple[int | None, Evidence | None, str | None]]]:
        """Return (index of the group, evidence, doubt) of each replica, sorted by name and restarts.

        There is no group if it gets no traffic, no evidence if nothing was reported, no doubt if that can be used.
        """

    @property
    def limits(self) -> Limits:
        """Of the endpoint."""

    @property
    def measured(self) -> bool:
        """Whether something that was measured counts."""

    @property
    def held(self) -> bool:
        """Whether some are those of before the router's start, because no load was reported yet."""

    def has_same_traffic(self, other: Comparisons) -> bool:
        """Return whether these groups have the same weights too, so that Envoy would see no difference."""

    def has_same_rooms(self, other: Comparisons) -> bool:
        """Return whether, with affinity, each replica takes as many requests before it can be busy."""

    def load_assignment(self, cluster: str, sites: Sites) -> bytes:
        """Return the replicas that get traffic, then those that drain: Envoy would cut the streams of an absent one.

        It is an encoded `envoy.config.endpoint.v3.ClusterLoadAssignment`. Groups are localities.
        """

class Sites:
    """Where the replicas of an endpoint's applications are."""

    def __new__(cls, sites: Sequence[tuple[str, Sequence[tuple[str, int, bool]]]], *, affinity: bool = False) -> Sites:
        """Each site is (application, replicas) in the order of the pools, each replica (IP address, port, whether it
        drains). `affinity`: the balancer needs their rooms.
        """

def load_assignment(
    cluster: str, backends: Sequence[tuple[str, int, int, bool, str, int, int]], weights: Mapping[str, int]
) -> bytes:
    """Return an encoded load assignment of replicas, each (IP address, port, weight, whether it drains, group, room or
    0, seconds after which a rejected client may return or 0). Without replicas, requests get 503 at once.

    `weights`: of the groups; a group without one gets the sum of its replicas'.
    """

class Pools:
    """The applications of an endpoint with their replicas, as they are compared."""

    def __new__(cls, pools: Sequence[tuple[str, int, Sequence[tuple[str, int, int, bool]], float, float]]) -> Pools:
        """Return pools, each (application, weight, replicas, age from which their readings cannot be used, that of a
        replica without work), each replica (name, restarts, slots or 0, whether it can get traffic).
        """

    def compare(
        self, loads: dict[str, Loads], before: Comparisons | None, *, now: float, hold: bool = False
    ) -> Comparisons:
        """Compare the replicas of each. Equal inputs give equal results, in every router and in whatever order they
        arrived.

        `loads`: by application; `before`: the last comparisons; `hold`: the router has just started, so replicas of
        which no load was reported keep their last groups and shares.
        """

class Limits:
    """How many requests of an endpoint may be in flight at one gateway, how many retries, and when to come back."""

    def __new__(
        cls, requests: int | None = None, retry_percent: int | None = None, retry_after_seconds: int | None = None
    ) -> Limits: ...
    @property
    def requests(self) -> int | None:
        """In flight at one gateway; None: no limit, because slots are unknown."""

    @property
    def retry_percent(self) -> int:
        """Retries, as a part of the requests in flight at one gateway."""

    @property
    def retry_after_seconds(self) -> int:
        """For a client whose request is rejected."""

def limits(replicas: Sequence[tuple[int, float, float | None]]) -> Limits:
    """Return the limits of replicas, each (slots or 0, waiting requests, drain rate)."""

def divide(groups: Sequence[tuple[float, float]], utilisation: float) -> list[float]:
    """Return the share of each group (slots, speed of a slot) so that requests wait least; they add up to 1.

    `utilisation`: load divided by the capacity of all.
    """

def relieve(parts: Sequence[tuple[float, float, float, float]], utilisation: float, arrivals: float) -> list[float]:
    """Return the shares for the next second, which move requests away from queues; they add up to 1.

    Each part is a group: (share by capacity, proportion of the capacity, waiting requests, free slots). `utilisation`:
    used slots as a part of all, by speed; `arrivals`: requests a second at all groups.
    """

def apportion(shares: Sequence[float], total: int) -> list[int]:
    """Return integers in proportion to the shares that add up to `total`, by the largest remainders.

    A share above 0 gets at least 1, so the sum is greater if there are more shares than `total`.
    """
