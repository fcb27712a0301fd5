"""One bad object does not stop an informer, whatever its reader overlooks."""

from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.kit.testing.informers import FakeObjects
from arks.kit.types import Json

A, B = Key("default", "a"), Key("default", "b")


def pod(name: str, slots: str, version: int = 1) -> Json:
    metadata = {"name": name, "namespace": "default", "resourceVersion": str(version)}
    return {"metadata": {**metadata, "annotations": {"slots": slots}}}


def slots_of(obj: Json) -> int:
    return int(obj["metadata"]["annotations"]["slots"])


async def test_an_object_that_cannot_be_read_hides_no_other() -> None:
    api, cache = FakeObjects(pod("a", "many"), pod("b", "2")), Cache[int]()
    await api.follow(slots_of, cache)
    assert ({B: 2}, {A, B}, 1.0) == (dict(cache.items()), cache.existing(), api.unreadable)


async def test_a_change_that_cannot_be_read_keeps_the_last_value_until_the_object_is_deleted() -> None:
    api, cache = FakeObjects(pod("a", "1"), pod("b", "2")), Cache[int]()
    api.changes = [("MODIFIED", pod("a", "²", 2)), ("MODIFIED", pod("b", "3", 3))]
    await api.follow(slots_of, cache)
    assert ({A: 1, B: 3}, 1.0) == (dict(cache.items()), api.unreadable)
    api.changes, api.objects = [("DELETED", pod("a", "²", 4))], [pod("a", "²", 2), pod("b", "3", 3)]
    await api.follow(slots_of, cache)
    assert ({B: 3}, {B}) == (dict(cache.items()), cache.existing())


async def test_a_listener_that_fails_is_counted_and_the_informer_goes_on() -> None:
    api, cache = FakeObjects(pod("a", "1")), Cache[int]()

    def fail(key: Key) -> None:
        raise KeyError(key)

    cache.subscribe(fail)
    api.changes = [("ADDED", pod("b", "2", 2))]
    await api.follow(slots_of, cache)
    assert ({A: 1, B: 2}, 2.0) == (dict(cache.items()), api.unreadable)
