"""The condition Progressing, and the deadline behind it."""

import pytest

from arks.app_deployer.domain.progress import Deadlines, progressing, signature
from arks.app_deployer.domain.workload import ObservedReplica, ObservedWorkload, Refusal, Verdict
from arks.contracts.resources import InstanceState
from arks.kit.key import Key

KEY = Key("default", "app")
NEW = ObservedReplica("app-0", InstanceState.READY)
OLD = ObservedReplica("app-1", InstanceState.READY, updated=False)
LOADING = ObservedReplica("app-1", InstanceState.LOADING)
DRAINING = ObservedReplica("app-2", InstanceState.DRAINING, updated=False)
NO_QUOTA = Refusal("FailedCreate", "exceeded quota: gpus")


def verdict(
    desired: int,
    *replicas: ObservedReplica,
    trouble: Refusal | None = None,
    waits_for: str = "",
    overdue_seconds: float | None = None,
    without_surge: bool = False,
) -> Verdict:
    parts = [(desired, ObservedWorkload(replicas, without_surge=without_surge))]
    return progressing(parts, trouble, waits_for=waits_for, overdue_seconds=overdue_seconds)


@pytest.mark.parametrize(
    ("why", "found", "status", "reason"),
    [
        ("all new", verdict(1, NEW), True, "Complete"),
        ("none wanted", verdict(0), True, "Complete"),
        ("an old one drains", verdict(1, NEW, DRAINING), True, "Complete"),
        ("complete, whatever the model", verdict(1, NEW, waits_for="gone"), True, "Complete"),
        ("an old one serves", verdict(2, NEW, OLD), True, "RollingOut"),
        ("one more than wanted", verdict(1, NEW, LOADING), True, "RollingOut"),
        ("too slow", verdict(2, NEW, LOADING, overdue_seconds=60.0), False, "DeadlineExceeded"),
        ("refused while the old one serves", verdict(1, OLD, trouble=NO_QUOTA), False, "FailedCreate"),
        ("no model", verdict(1, waits_for="it loads"), False, "WaitingForModel"),
    ],
)
def test_progress(why: str, found: Verdict, status: bool, reason: str) -> None:
    assert (why, status, reason) == (why, found.status, found.reason)


def test_the_message_counts_and_names_the_fallback_and_the_reason() -> None:
    found = verdict(1, OLD, trouble=NO_QUOTA, without_surge=True)
    expected = (
        "0 of 1 replicas run the newest spec and serve; there is no room for one more, so old replicas stop first; "
        "exceeded quota: gpus"
    )
    assert expected == found.message


def test_a_deadline_counts_from_the_last_change_of_a_replica() -> None:
    deadlines = Deadlines()
    before, after = (signature(ObservedWorkload((replica,))) for replica in (LOADING, NEW))
    assert 60.0 == deadlines.remaining_seconds(KEY, before, 60.0, 100.0)
    assert 10.0 == deadlines.remaining_seconds(KEY, before, 60.0, 150.0)
    assert 60.0 == deadlines.remaining_seconds(KEY, after, 60.0, 150.0)
    assert -1.0 == deadlines.remaining_seconds(KEY, after, 60.0, 211.0)
    deadlines.forget(KEY)
    assert 60.0 == deadlines.remaining_seconds(KEY, after, 60.0, 300.0)
