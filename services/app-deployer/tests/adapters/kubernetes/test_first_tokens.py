"""The first token of replicas that have just become ready."""

import asyncio

from arks.app_deployer.adapters.kubernetes.first_tokens import FirstTokens, Started
from arks.app_deployer.domain.pods import GroupRef
from arks.kit.key import Key
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.wait import eventually

STARTED = Started(GroupRef(Key("default", "app")), "app-0", "u1", "10.0.0.1", 8080, "qwen")


class Engine:
    def __init__(self, clock: FakeClock, fault: str | None = None) -> None:
        self.clock, self.fault = clock, fault
        self.requests: list[tuple[str, int, str]] = []

    async def problem(self, port: int, model: str, host: str) -> str | None:
        self.requests.append((host, port, model))
        self.clock.advance(2.5)
        return self.fault


async def measured(fault: str | None) -> tuple[Engine, list[tuple[Started, float | None]]]:
    clock, found = FakeClock(), list[tuple[Started, float | None]]()
    engine = Engine(clock, fault)
    first_tokens = FirstTokens(engine, clock, lambda started, seconds: found.append((started, seconds)))
    running = asyncio.create_task(first_tokens.run())
    first_tokens.measure(STARTED)
    await eventually(lambda: bool(found))
    running.cancel()
    await asyncio.wait([running])
    return engine, found


async def test_the_time_to_the_first_token_is_that_of_one_request() -> None:
    engine, found = await measured(None)
    assert ([("10.0.0.1", 8080, "qwen")], [(STARTED, 2.5)]) == (engine.requests, found)


async def test_an_engine_that_does_not_answer_has_no_such_time() -> None:
    _, found = await measured("it answers with status 404")
    assert [(STARTED, None)] == found
