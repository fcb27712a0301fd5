"""The number of replicas that counts."""

from arks.app_deployer.service.scaling import Scaling
from arks.contracts.resources import ArksApplication
from arks.events.v1.facts_pb2 import ScalingFact
from arks.kit.cache import Cache, Unreadable
from arks.kit.key import Key

APPLICATION = Key("default", "app")
SCALER = Key("default", "chat")


def fact(replicas: int, application: str = "app") -> ScalingFact:
    return ScalingFact(namespace="default", application=application, autoscaler="chat", replicas=replicas)


def application(replicas: int = 1) -> ArksApplication:
    spec = {"replicas": replicas, "model": {"name": "m"}, "instanceSpec": {}}
    return ArksApplication.from_dict({"metadata": {"name": "app"}, "spec": spec})


def scaling(**facts: ScalingFact) -> tuple[Scaling, Cache[ScalingFact], list[Key]]:
    cache: Cache[ScalingFact] = Cache()
    found, changed = Scaling(cache), list[Key]()
    found.subscribe(changed.append)
    for name, given in facts.items():
        cache.apply(Key("default", name), given)
    return found, cache, changed


def test_the_number_of_an_autoscaler_replaces_that_of_the_spec() -> None:
    found, _, changed = scaling(chat=fact(3))
    assert 3 == found.apply(APPLICATION, application()).spec.replicas
    assert 0 == scaling(chat=fact(0))[0].apply(APPLICATION, application()).spec.replicas
    assert [APPLICATION] == changed


def test_without_an_autoscaler_the_spec_counts() -> None:
    found, cache, changed = scaling(chat=fact(3))
    cache.apply(SCALER, None)
    assert 2 == found.apply(APPLICATION, application(2)).spec.replicas
    assert [APPLICATION, APPLICATION] == changed
    assert found.wanted(Key("other", "app")) is None


def test_a_fact_that_cannot_be_read_changes_no_number() -> None:
    found, cache, _ = scaling(chat=fact(3))
    cache.apply(SCALER, Unreadable("newer"))
    assert 3 == found.wanted(APPLICATION)


def test_a_new_target_frees_the_one_before() -> None:
    found, cache, changed = scaling(chat=fact(3))
    cache.apply(SCALER, fact(4, "other"))
    assert (None, 4) == (found.wanted(APPLICATION), found.wanted(Key("default", "other")))
    assert {APPLICATION, Key("default", "other")} == set(changed)


def test_of_two_autoscalers_the_first_by_name_counts() -> None:
    assert 3 == scaling(a=fact(3), b=fact(5))[0].wanted(APPLICATION)


def test_the_number_of_a_stage_is_none_of_the_application() -> None:
    of_stage = fact(3)
    of_stage.stage = "decode"
    found, _, changed = scaling(chat=of_stage)
    assert (None, 3) == (found.wanted(APPLICATION), found.wanted(APPLICATION, "decode"))
    assert [APPLICATION] == changed
