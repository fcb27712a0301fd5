"""The examples that users apply."""

from pathlib import Path

import pytest

from arks.local.manifests import parse_manifests
from arks.local.plan import demo

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))
DEMO = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in demo.manifests(Path("/m.gguf"), "hash")}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_valid_and_replaces_nothing_of_the_demo(example: Path) -> None:
    manifests = parse_manifests([(example.name, example.read_text())])
    assert [] == manifests.errors
    assert manifests.resources
    assert not DEMO & {(resource.kind, resource.name) for resource in manifests.resources}
