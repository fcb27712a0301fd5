from arks.kit.cache import Cache
from arks.kit.key import Key

A, B, C = (Key("default", name) for name in "abc")


def test_a_listener_gets_existing_keys_and_every_real_change() -> None:
    cache: Cache[int] = Cache()
    cache.apply(A, 1)
    changed: list[Key] = []
    cache.subscribe(changed.append)
    cache.apply(A, 1)
    cache.apply(B, 2)
    cache.apply(B, None)
    cache.apply(B, None)
    assert [A, B, B] == changed


def test_a_new_list_removes_what_is_not_in_it_and_marks_the_cache_as_synced() -> None:
    cache: Cache[int] = Cache()
    cache.apply(A, 1)
    cache.apply(B, 2)
    changed: list[Key] = []
    cache.subscribe(lambda key: changed.append(key) if cache.get(key) is None else None)
    assert not cache.synced.is_set()
    cache.replace({B: 2, C: 3})
    assert cache.synced.is_set()
    assert {B: 2, C: 3} == dict(cache.items())
    assert [A] == changed
