import pytest

from arks.local.files.paths import Paths
from arks.local.files.ports_file import read_ports, write_ports
from arks.local.plan import ports


def test_ports_stay_the_same_while_they_are_free(paths: Paths) -> None:
    chosen = ports.choose(("a", "b"), {})
    write_ports(paths, chosen)
    assert chosen == ports.choose(("a", "b"), read_ports(paths))
    assert len(set(chosen.values())) == 2


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"nats": "x"}'])
def test_a_broken_ports_file_counts_as_none(paths: Paths, text: str) -> None:
    (paths.run / "ports.json").write_text(text)
    assert {} == read_ports(paths)
