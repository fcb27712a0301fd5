"""Who reads and who reports an application, as replicas of metrics come and go."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from arks.kit.key import Key
from arks.metrics.domain.members import ARRIVAL_SECONDS, GONE_SECONDS, LATE_SECONDS, Member, Members, owner
from arks.metrics.testing.members import alone

APPLICATIONS = [Key("team", f"app-{number}") for number in range(200)]
NAMES = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=80), min_size=1, max_size=6, unique=True)


@given(NAMES)
def test_members_own_about_equally_many_applications(names: list[str]) -> None:
    counts = Counter(owner(key, names) for key in APPLICATIONS)
    mean = len(APPLICATIONS) / len(names)
    assert all(abs(counts[name] - mean) <= 6 * mean**0.5 for name in names)


@given(NAMES, st.data())
def test_only_applications_of_a_member_that_goes_move(names: list[str], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(names))
    remaining = [name for name in names if name != gone]
    for key in APPLICATIONS:
        if remaining and owner(key, names) != gone:
            assert owner(key, names) == owner(key, remaining)


@given(NAMES, st.randoms(use_true_random=False))
def test_the_owner_does_not_depend_on_the_order_of_members(names: list[str], random: object) -> None:
    shuffled = sorted(names, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert [owner(key, names) for key in APPLICATIONS] == [owner(key, shuffled) for key in APPLICATIONS]


def test_nothing_is_read_before_the_others_had_time_to_answer() -> None:
    members = Members("a")
    assert not any(members.reads(key) for key in APPLICATIONS)
    members.arrive()
    assert all(members.reads(key) and members.reports(key) for key in APPLICATIONS)


def test_a_new_member_reads_its_share_beside_the_old_one_until_it_takes_over() -> None:
    old, new = alone("old"), Members("new")
    new.take(old.own, 0.0)
    new.arrive()
    old.take(new.own, 0.0)
    share = [key for key in APPLICATIONS if owner(key, ["old", "new"]) == "new"]
    assert share == [key for key in APPLICATIONS if new.reads(key)]
    assert APPLICATIONS == [key for key in APPLICATIONS if old.reports(key) and old.reads(key)]
    assert [] == [key for key in APPLICATIONS if new.reports(key)]
    new.take_over()
    old.take(new.own, 0.0)
    assert share == [key for key in APPLICATIONS if new.reports(key)]
    assert share == [key for key in APPLICATIONS if not old.reports(key) and not old.reads(key)]


def test_the_share_of_a_silent_member_is_read_once_it_was_silent_for_too_long() -> None:
    members = alone()
    members.take(Member("b", ready=True), 0.0)
    for now in (0.5, 1.0, 1.5):
        members.look(now, connected=True)
        assert 2 == len(members.names)
    members.look(GONE_SECONDS + 0.1, connected=True)
    assert all(members.reports(key) for key in APPLICATIONS)


def test_the_share_of_a_member_that_ends_is_read_at_once() -> None:
    members = alone()
    members.take(Member("b", ready=True), 0.0)
    members.take(Member("b", leaving=True), 0.1)
    assert all(members.reports(key) for key in APPLICATIONS)


def test_no_member_counts_as_gone_while_its_messages_cannot_arrive() -> None:
    members = alone()
    members.take(Member("b", ready=True), 0.0)
    for tenth in range(100):
        members.look(tenth / 10, connected=False)
    members.look(10.0 + LATE_SECONDS / 2, connected=True)
    assert ("a", "b") == members.names


def test_a_process_that_was_stopped_itself_takes_no_share_of_others() -> None:
    members = alone()
    members.take(Member("b", ready=True), 0.0)
    members.look(0.1, connected=True)
    members.look(60.0, connected=True)
    assert ("a", "b") == members.names


def test_new_members_report_at_once_when_the_last_that_reported_is_gone() -> None:
    members = Members("a")
    members.take(Member("b", ready=True), 0.0)
    members.arrive()
    assert not any(members.reports(key) for key in APPLICATIONS)
    members.take(Member("b", leaving=True), 0.1)
    assert all(members.reports(key) for key in APPLICATIONS)


@dataclass
class Cluster:
    """Members whose messages arrive at the next step of a tenth of a second."""

    now: float = 0.0
    members: dict[str, Members] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    in_flight: list[Member] = field(default_factory=list)

    def start(self) -> None:
        name = f"m{len(self.started)}"
        self.members[name], self.started[name] = Members(name), self.now
        self.in_flight.append(self.members[name].own)

    def kill(self, number: int) -> None:
        if self.members:
            del self.members[sorted(self.members)[number % len(self.members)]]

    def step(self) -> None:
        self.now += 0.1
        arrived, self.in_flight = self.in_flight, []
        for name, member in self.members.items():
            for sent in arrived:
                member.take(sent, self.now)
            age = self.now - self.started[name]
            if age >= ARRIVAL_SECONDS and name not in member.names:
                member.arrive()
            if age >= 2 and not member.own.ready:
                member.take_over()
            if age >= ARRIVAL_SECONDS:
                member.look(self.now, connected=True)
            self.in_flight.append(member.own)

    def reporters(self) -> Counter[Key]:
        counts = Counter(dict.fromkeys(APPLICATIONS[:20], 0))
        for member in self.members.values():
            counts.update(key for key in APPLICATIONS[:20] if member.reports(key))
        return counts


STEPS = st.lists(
    st.tuples(st.sampled_from(["start", "start", "kill"]), st.integers(0, 5), st.integers(1, 40)), max_size=8
)


@given(STEPS)
def test_whatever_comes_and_goes_each_application_has_one_reporter_soon_after(
    steps: list[tuple[str, int, int]],
) -> None:
    cluster = Cluster()
    cluster.start()
    for kind, number, wait in steps:
        cluster.start() if kind == "start" else cluster.kill(number)
        for _ in range(wait):
            cluster.step()
    if not cluster.members:
        cluster.start()
    for _ in range(25):
        cluster.step()
    assert {1} == set(cluster.reporters().values())


@given(st.lists(st.integers(0, 30), max_size=5))
def test_no_application_is_without_a_reporter_while_members_only_join(waits: list[int]) -> None:
    cluster = Cluster()
    cluster.start()
    for _ in range(5):
        cluster.step()
    for wait in waits:
        cluster.start()
        for _ in range(wait):
            cluster.step()
            assert all(count >= 1 for count in cluster.reporters().values())
