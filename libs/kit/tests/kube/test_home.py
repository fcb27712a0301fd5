from pathlib import Path

import pytest

from arks.kit.kube.home import KubeHome
from arks.kit.settings import Settings


@pytest.mark.parametrize("leads", [True, False])
def test_only_a_home_that_leads_takes_part_in_an_election_and_writes_events(leads: bool, tmp_path: Path) -> None:
    home = KubeHome("usage-meter", Settings(state_dir=tmp_path), leads=leads)
    assert [leads, leads] == [run in home.runs() for run in (home.election.run, home.event_queue.run)]
