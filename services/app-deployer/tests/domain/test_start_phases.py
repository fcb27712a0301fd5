from arks.app_deployer.domain.start_phases import StartPhases


def test_a_start_is_the_sum_of_its_phases() -> None:
    phases = StartPhases.of(100.0, 103.25, 104.0)
    assert (3.25, 0.75, 4.0) == (phases.load_seconds, phases.warm_up_seconds, phases.seconds)
    assert "4.0 s (3.2 s to load, 0.8 s to the first token)" == str(phases)


def test_a_clock_that_was_set_back_makes_no_phase_negative() -> None:
    assert StartPhases(0.0, 0.0) == StartPhases.of(100.0, 90.0, 80.0)
