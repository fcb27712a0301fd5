"""1,000 requests at once to an endpoint at zero, through every real program but the engine."""

from pathlib import Path

import pytest

from bench.held import Crowd, measure, system

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


async def test_of_a_thousand_requests_at_zero_as_many_as_may_wait_are_answered_once_and_in_time(tmp_path: Path) -> None:
    crowd = Crowd(seconds=0.25, start_seconds=0.2)
    async with system(tmp_path, crowd) as running:
        outcome = await measure(running, crowd)
    assert outcome.faults(crowd, slack=4.0) == []
