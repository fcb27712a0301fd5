"""Weights within an application, from slots and load: a table of cases."""

from dataclasses import replace

from msgspec import structs

from arks.endpoint_router.domain import (
    WEIGHT_TOTAL,
    Comparisons,
    Decision,
    DecisionInput,
    ReplicaId,
    Source,
    decide,
)
from arks.endpoint_router.domain.native import FORGET_SECONDS, Reading, observe
from arks.endpoint_router.testing.decisions import NOW, SPEC, applications, busy, learned, loads, replica, weights


def test_without_load_reports_weights_and_source_are_equal() -> None:
    decision = decide(SPEC, DecisionInput(applications(replica("r-0"), replica("r-1")), now=NOW))
    assert ({"r-0": 50_000, "r-1": 50_000}, Source.EQUAL) == (weights(decision), decision.source)


def test_slots_count_without_signals() -> None:
    decision = decide(SPEC, DecisionInput(applications(replica("r-0", slots=1), replica("r-1", slots=3)), now=NOW))
    assert ({"r-0": 24_763, "r-1": 75_237}, Source.STATIC) == (weights(decision), decision.source)


def test_at_full_load_a_replica_that_drains_twice_as_fast_gets_twice_the_traffic() -> None:
    fast, slow = replica("r-0"), replica("r-1")
    signals = {fast.id: busy(4, drain_rate=8), slow.id: busy(4, drain_rate=4)}
    decision = decide(SPEC, DecisionInput(applications(fast, slow), loads(signals), now=NOW))
    assert ({"r-0": 66_832, "r-1": 33_168}, Source.ENGINE) == (weights(decision), decision.source)


def test_with_room_everywhere_a_slow_replica_gets_less_than_its_proportion() -> None:
    fast, slow = replica("r-0", slots=16), replica("r-1", slots=16)
    signals = {fast.id: busy(8, drain_rate=16), slow.id: busy(8, drain_rate=8)}
    decision = decide(SPEC, DecisionInput(applications(fast, slow), loads(signals), now=NOW))
    assert weights(decision)["r-1"] < 20_000 < WEIGHT_TOTAL / 3


def test_replicas_that_are_alike_are_one_group_with_equal_weights() -> None:
    replicas = [replica(f"r-{n}", slots=16 if n < 3 else 4) for n in range(4)]
    decision = decide(SPEC, DecisionInput(applications(*replicas), now=NOW))
    assert [("a", 3), ("a/2", 1)] == [(group.name, group.replicas) for group in decision.groups]
    assert WEIGHT_TOTAL == sum(group.weight for group in decision.groups)
    assert 1 == len({weights(decision)[f"r-{n}"] for n in range(3)})


def test_requests_that_wait_show_the_slots_at_the_first_report() -> None:
    replicas = [replica(f"r-{n}") for n in range(4)]
    readings = [Reading(NOW, 9, 0), Reading(NOW, 9, 0), Reading(NOW, 10, 0), Reading(NOW, 4, 5)]
    signals = {each.id: observe(None, reading) for each, reading in zip(replicas, readings, strict=True)}
    decision = decide(SPEC, DecisionInput(applications(*replicas), loads(signals), now=NOW))
    assert [("a", 3), ("a/2", 1)] == [(group.name, group.replicas) for group in decision.groups]
    assert weights(decision)["r-3"] < 100


def test_a_group_keeps_its_name_while_most_of_its_members_stay() -> None:
    replicas = [replica(f"r-{n}", slots=4 if n < 2 else 16) for n in range(4)]
    few = decide(SPEC, DecisionInput(applications(*replicas[:3]), now=NOW))
    more = decide(SPEC, DecisionInput(applications(*replicas), before=few.comparisons, now=NOW))
    names = {candidate.replica.id.name: candidate.group for candidate in few.candidates}
    assert names.items() <= {candidate.replica.id.name: candidate.group for candidate in more.candidates}.items()


def test_replicas_that_were_alike_part_only_at_a_greater_difference() -> None:
    fast, slow = replica("r-0"), replica("r-1")

    def groups(rate: float, before: Decision | None) -> int:
        signals = {fast.id: busy(4, drain_rate=8), slow.id: busy(4, drain_rate=rate)}
        scores = before.comparisons if before is not None else None
        return len(decide(SPEC, DecisionInput(applications(fast, slow), loads(signals), scores, now=NOW)).groups)

    together = decide(SPEC, DecisionInput(applications(fast, slow), now=NOW))
    assert (2, 1, 2) == (groups(5.5, None), groups(5.5, together), groups(4.0, together))


def test_a_share_stays_while_the_wanted_one_differs_by_little() -> None:
    fast, slow = replica("r-0"), replica("r-1")

    def decided(rate: float, before: Decision | None) -> Decision:
        signals = {fast.id: busy(4, drain_rate=8), slow.id: busy(4, drain_rate=rate)}
        scores = before.comparisons if before is not None else None
        return decide(SPEC, DecisionInput(applications(fast, slow), loads(signals), scores, now=NOW))

    first = decided(2.0, None)
    assert weights(first) == weights(decided(2.1, first)) != weights(decided(2.6, first))


def test_token_rates_count_if_engines_report_no_drain_rate() -> None:
    fast, slow = replica("r-0"), replica("r-1")
    signals = {
        fast.id: learned(Reading(NOW, 2, 0, token_rate=60)),
        slow.id: learned(Reading(NOW, 2, 0, token_rate=20)),
    }
    found = weights(decide(SPEC, DecisionInput(applications(fast, slow), loads(signals), now=NOW)))
    assert 2.9 < found["r-0"] / found["r-1"] < 3.2


def test_speeds_in_requests_and_in_tokens_are_not_compared() -> None:
    requests, tokens = replica("r-0"), replica("r-1")
    signals = {requests.id: busy(2, drain_rate=2), tokens.id: learned(Reading(NOW, 2, 0, token_rate=60))}
    assert {50_000} == set(
        weights(decide(SPEC, DecisionInput(applications(requests, tokens), loads(signals), now=NOW))).values()
    )


def test_three_fast_replicas_stay_equal_beside_a_slow_one() -> None:
    replicas = [replica(f"r-{n}") for n in range(4)]
    rates = [8.3, 8.0, 7.4, 2.0]
    signals = {replica_.id: busy(4, drain_rate=rate) for replica_, rate in zip(replicas, rates, strict=True)}
    found = weights(decide(SPEC, DecisionInput(applications(*replicas), loads(signals), now=NOW)))
    assert 1 == len({found["r-0"], found["r-1"], found["r-2"]})
    assert 3.9 < found["r-0"] / found["r-3"] < 4.5


def test_replicas_that_differ_by_noise_stay_equal() -> None:
    replicas = [replica(f"r-{n}") for n in range(3)]
    signals = {replica_.id: busy(4, drain_rate=8 + n / 2) for n, replica_ in enumerate(replicas)}
    assert {33_333} == set(
        weights(decide(SPEC, DecisionInput(applications(*replicas), loads(signals), now=NOW))).values()
    )


def test_a_queue_sends_new_requests_to_other_groups_at_once() -> None:
    free, queued = replica("r-0", slots=16), replica("r-1", slots=4)
    signals = {free.id: busy(15, drain_rate=15), queued.id: busy(4, drain_rate=1)}
    calm = decide(SPEC, DecisionInput(applications(free, queued), loads(signals), now=NOW))
    signals[queued.id] = observe(signals[queued.id], Reading(NOW, 4, 2))
    after = decide(SPEC, DecisionInput(applications(free, queued), loads(signals), calm.comparisons, now=NOW))
    assert 4_000 < weights(calm)["r-1"]
    assert 10 > weights(after)["r-1"]


def test_the_queue_of_a_large_group_does_not_bury_a_small_one() -> None:
    large, small = replica("r-0", slots=48), replica("r-1", slots=4)
    signals = {large.id: busy(48, waiting=24, drain_rate=48), small.id: busy(2, drain_rate=0.5)}
    found = weights(decide(SPEC, DecisionInput(applications(large, small), loads(signals), now=NOW)))
    assert found["r-1"] <= 1.5 * WEIGHT_TOTAL / 49


def test_a_full_kv_cache_lowers_the_capacity_of_its_group() -> None:
    large, small = replica("r-0", slots=16), replica("r-1", slots=4)

    def weight(kv_usage: float) -> int:
        signals = {
            large.id: learned(Reading(NOW, 16, 0, 16, kv_usage=0.5)),
            small.id: learned(Reading(NOW, 4, 0, 4, kv_usage=kv_usage)),
        }
        return weights(decide(SPEC, DecisionInput(applications(large, small), loads(signals), now=NOW)))["r-1"]

    assert weight(0.9) == weight(0.5)
    assert 1.8 < weight(0.5) / weight(1.0) < 2.3


def test_the_same_queue_everywhere_changes_nothing() -> None:
    replicas = [replica(f"r-{n}") for n in range(2)]
    signals = {replica_.id: busy(4, waiting=50, drain_rate=4) for replica_ in replicas}
    assert {50_000} == set(
        weights(decide(SPEC, DecisionInput(applications(*replicas), loads(signals), now=NOW))).values()
    )


def test_a_stale_reading_does_not_look_idle() -> None:
    stale, working = replica("r-0"), replica("r-1")
    signals = {stale.id: busy(0, age=60.0), working.id: busy(4, drain_rate=4)}
    assert {50_000} == set(
        weights(decide(SPEC, DecisionInput(applications(stale, working), loads(signals), now=NOW))).values()
    )


def test_what_was_measured_holds_while_reports_are_missing_and_is_forgotten_later() -> None:
    fast, slow = replica("r-0"), replica("r-1")
    signals = {fast.id: busy(4, drain_rate=8), slow.id: busy(4, drain_rate=2)}
    fresh = DecisionInput(applications(fast, slow), loads(signals), now=NOW)
    later, much_later = structs.replace(fresh, now=NOW + 60), structs.replace(fresh, now=NOW + FORGET_SECONDS + 1)
    assert (weights(decide(SPEC, fresh)), Source.ENGINE) == (weights(decide(SPEC, later)), decide(SPEC, later).source)
    last = decide(SPEC, much_later)
    assert ({50_000}, Source.EQUAL) == (set(weights(last).values()), last.source)


def test_after_a_start_groups_and_shares_hold_until_the_first_load_report() -> None:
    fast, slow = replica("r-0"), replica("r-1")
    before = Comparisons.restored([("a", [("r-0", 0, "a", 0.8), ("r-1", 0, "a/2", 0.2)])])
    held = DecisionInput(applications(fast, slow), before=before, hold=True, now=NOW)
    assert ({"r-0": 80_000, "r-1": 20_000}, True) == (weights(decide(SPEC, held)), decide(SPEC, held).held)
    ended = decide(SPEC, structs.replace(held, hold=False))
    assert ({50_000}, False) == (set(weights(ended).values()), ended.held)


def test_a_restarted_replica_starts_without_what_was_measured_before() -> None:
    old, other = replica("r-0"), replica("r-1")
    new = replace(old, id=ReplicaId(old.id.application, old.id.name, restarts=1))
    before = Comparisons.restored([("a", [("r-0", 0, "a/2", 0.05), ("r-1", 0, "a", 0.95)])])
    inputs = DecisionInput(applications(new, other), loads({old.id: busy(9, 90, 0.1)}), before, now=NOW)
    assert {50_000} == set(weights(decide(SPEC, inputs)).values())
