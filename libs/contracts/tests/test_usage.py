"""The sources of usage in Python are those of protobuf."""

from arks.contracts.usage import UsageSource
from arks.events.v1 import usage_pb2


def test_sources_have_the_names_and_numbers_of_protobuf() -> None:
    numbers = dict(usage_pb2.UsageSource.items())
    assert 0 == numbers.pop("USAGE_SOURCE_UNSPECIFIED")
    assert numbers == {source.message_name: source.value for source in UsageSource}
