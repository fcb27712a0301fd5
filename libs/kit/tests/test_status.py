from arks.contracts.resources import ArksModel, ArksModelStatus, ModelPhase
from arks.kit.key import Key, key_of
from arks.kit.status import NEVER, StatusWriter
from arks.kit.testing.clock import FakeClock

READY, LOADING = ArksModelStatus(phase=ModelPhase.READY), ArksModelStatus(phase=ModelPhase.MODEL_LOADING)


class Store:
    def __init__(self) -> None:
        self.writes: list[tuple[Key, object]] = []

    async def patch_status(self, key: Key, status: object) -> None:
        self.writes.append((key, status))


def model(uid: str = "u1", status: ArksModelStatus | None = None) -> ArksModel:
    data = {"apiVersion": "arks.ai/v1", "kind": "ArksModel", "metadata": {"name": "qwen", "uid": uid}}
    return ArksModel.from_stored(data | {"spec": {"model": "q/w"}}).model_copy(update={"status": status})


def writer() -> tuple[StatusWriter[ArksModel, ArksModelStatus], Store, FakeClock]:
    store, clock = Store(), FakeClock()
    return StatusWriter(store, clock), store, clock


async def test_a_status_is_written_once() -> None:
    statuses, store, _ = writer()
    assert await statuses.write(model(), READY)
    assert not await statuses.write(model(), READY)
    assert [(Key("default", "qwen"), READY)] == store.writes
    assert {Key("default", "qwen"): READY} == statuses.statuses()


async def test_a_stored_status_is_not_written_again() -> None:
    statuses, store, _ = writer()
    assert not await statuses.write(model(status=READY), READY)
    assert [] == store.writes
    assert NEVER == statuses.last(model()).at


async def test_the_last_write_counts_although_the_cache_lags() -> None:
    statuses, _, _ = writer()
    await statuses.write(model(status=LOADING), READY)
    assert READY == statuses.last(model(status=LOADING)).status


async def test_a_recreated_resource_has_no_last_status() -> None:
    statuses, store, _ = writer()
    await statuses.write(model(), READY)
    assert statuses.last(model("u2")).status is None
    assert await statuses.write(model("u2"), READY)
    assert 2 == len(store.writes)


async def test_a_forgotten_resource_has_the_status_that_is_stored() -> None:
    statuses, _, _ = writer()
    await statuses.write(model(), READY)
    statuses.forget(key_of(model()))
    assert LOADING == statuses.last(model(status=LOADING)).status


async def test_the_next_write_waits_for_the_rest_of_the_interval() -> None:
    statuses, _, clock = writer()
    assert 0 == statuses.wait_seconds(model(), 5)
    await statuses.write(model(), READY)
    clock.advance(2)
    assert 3 == statuses.wait_seconds(model(), 5)
    await statuses.write(model(), READY)  # unchanged: the interval does not start again
    assert 3 == statuses.wait_seconds(model(), 5)
    clock.advance(4)
    assert 0 == statuses.wait_seconds(model(), 5)


async def test_a_stored_status_is_adopted_once() -> None:
    statuses, _, clock = writer()
    assert statuses.adopt(model(status=READY), just_written=True)
    clock.advance(2)
    assert not statuses.adopt(model(status=LOADING), just_written=True)
    assert READY == statuses.last(model()).status
    assert 3 == statuses.wait_seconds(model(), 5)
    assert statuses.adopt(model("u2"))
    assert 0 == statuses.wait_seconds(model("u2"), 5)
