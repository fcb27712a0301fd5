"""Objects that the API server has completed."""

import pytest

from arks.kit.kube.comparison import contains


@pytest.mark.parametrize(
    ("found", "desired", "same"),
    [
        ({"a": 1, "added": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({}, {"a": {}}, False),
        ([{"a": 1, "weight": 1}], [{"a": 1}], True),
        ([{"a": 1}, {"b": 1}], [{"a": 1}], False),
        (None, [], False),
    ],
)
def test_defaults_of_the_api_server_are_no_difference(found: object, desired: object, same: bool) -> None:
    assert same is contains(found, desired)
