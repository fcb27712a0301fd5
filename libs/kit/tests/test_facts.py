from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.facts import fact_at

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)


def stamp(time: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(time)
    return made


def test_a_new_fact_gets_the_time_and_its_original_does_not() -> None:
    fact = ModelFact(name="qwen", ready=True)
    assert ModelFact(name="qwen", ready=True, updated_at=stamp(NOW)) == fact_at(fact, NOW, None)
    assert not fact.HasField("updated_at")


def test_an_unchanged_fact_keeps_its_time() -> None:
    before = fact_at(ModelFact(name="qwen"), NOW, None)
    assert before is fact_at(ModelFact(name="qwen"), LATER, before)
    assert before is fact_at(ModelFact(name="qwen", updated_at=stamp(LATER)), LATER, before)


def test_a_changed_fact_gets_the_new_time() -> None:
    before = fact_at(ModelFact(name="qwen"), NOW, None)
    assert stamp(LATER) == fact_at(ModelFact(name="qwen", ready=True), LATER, before).updated_at
