"""What the simulator shows, in short runs."""

from dataclasses import replace

import pytest

from bench.scaling.__main__ import play, recovery_seconds
from bench.scaling.fleet import Fleet
from bench.scaling.loads import ENGINE, SCENARIOS


@pytest.mark.parametrize("seed", [1, 2])
def test_a_crowd_is_served_within_1_2_start_up_times(seed: int) -> None:
    scenario = replace(SCENARIOS["crowd"], seconds=1500.0, rate=lambda at: 1.0 if at < 600 else 10.0, crowd_at=600.0)
    fleet, requests = play("Arks", scenario, seed, explain=False)
    assert recovery_seconds(requests, 600.0) <= 1.2 * scenario.start_seconds
    assert fleet.size >= 10 / ENGINE.requests_per_second


def test_a_new_replica_has_no_counters_of_a_former_one() -> None:
    fleet, seen = Fleet(0.0, 1), set[int]()

    def look() -> None:
        seen.update(replica.number for replica in fleet.replicas)
        fleet.scale(1 if fleet.size == 3 else 3)

    fleet.run([], 30.0, 5.0, look)
    assert sum(by for _, by in fleet.changes if by > 0) + 1 == len(
        seen | {replica.number for replica in fleet.replicas}
    )


@pytest.mark.parametrize("fault", ["frozen", "zero", "absent"])
def test_false_signals_remove_no_replica(fault: str) -> None:
    scenario = replace(SCENARIOS[fault], seconds=2000.0)
    fleet, _ = play("Arks", scenario, seed=1, explain=False)
    assert [change for change in fleet.changes if change[0] >= 1000 and change[1] < 0] == []
