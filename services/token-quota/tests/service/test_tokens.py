from typing import Any

import pytest

from arks.contracts.conditions import find_condition
from arks.contracts.resources import ArksTokenStatus, Condition, hash_key
from arks.kit.reconcile import Key, Requeue
from arks.kit.testing.clock import FakeClock
from arks.token_quota.service.keyring import SECRET_READS_PER_SECOND, SECRET_SECONDS, Keyring
from arks.token_quota.service.tokens import QuotaUsers, Tokens
from arks.token_quota.testing.fakes import PEPPER, FakeEvents, FakeResources, FakeSecrets, World, quota, token

TOM = Key("team", "tom")
IN_SECRET: dict[str, Any] = {"tokenSecretRef": {"name": "keys", "key": "tom"}}


class Bench:
    def __init__(self, world: World, events: FakeEvents, clock: FakeClock) -> None:
        self.world, self.events = world, events
        self.resources, self.secrets = FakeResources(world.tokens), FakeSecrets()
        self.keyring = Keyring(self.resources, world.directory, self.secrets)
        self.tokens = Tokens(self.resources, world.directory, self.keyring, events, clock, QuotaUsers(world.tokens))

    async def ready(self, key: Key = TOM) -> Condition:
        self.requeue = await self.tokens.reconcile(key)
        status = self.resources.statuses[key]
        assert isinstance(status, ArksTokenStatus)
        found = find_condition(status.conditions, "Ready")
        assert found is not None
        return found


@pytest.fixture
def bench(world: World, events: FakeEvents, clock: FakeClock) -> Bench:
    return Bench(world, events, clock)


async def test_a_token_that_works_is_ready_and_says_so_once(bench: Bench) -> None:
    bench.world.add(token())
    first = await bench.ready()
    again = await bench.ready()
    assert ("True", "Ready", 1) == (first.status, first.reason, first.observed_generation)
    assert first == again
    assert [("token.ready", "team/tom", "Ready")] == bench.events.published


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"disabled": True}, "Disabled"),
        ({"expiresAt": "2025-12-31T00:00:00Z"}, "Expired"),
    ],
)
async def test_a_key_that_is_refused_says_why(bench: Bench, spec: dict[str, Any], reason: str) -> None:
    bench.world.add(token(**spec))
    found = await bench.ready()
    assert ("False", reason, [("token.refused", "team/tom", reason)]) == (
        found.status,
        found.reason,
        bench.events.published,
    )


async def test_the_newer_token_with_the_same_key_is_told_but_not_whose_key_it_is(bench: Bench) -> None:
    bench.world.add(token("ann", "sk-tom", namespace="rivals", created="2025-01-01T00:00:00Z"), token())
    found = await bench.ready()
    assert ("False", "DuplicateKey") == (found.status, found.reason)
    assert "rivals" not in found.message and "ann" not in found.message


async def test_a_key_in_a_secret_is_read_and_looked_after(bench: Bench) -> None:
    bench.world.add(token(key=None, **IN_SECRET))
    bench.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret\n"}
    assert Requeue(SECRET_SECONDS) == await bench.keyring.reconcile(TOM)
    assert "True" == (await bench.ready()).status
    assert bench.world.directory.holder("sk-in-secret") is not None
    bench.secrets.values[Key("team", "keys")] = {"tom": b"sk-rotated"}
    await bench.keyring.reconcile(TOM)
    assert (None, True) == (
        bench.world.directory.holder("sk-in-secret"),
        bench.world.directory.holder("sk-rotated") is not None,
    )


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (None, "SecretNotFound"),
        ({"other": b"x"}, "SecretNotFound"),
        ({"tom": b""}, "InvalidKey"),
        ({"tom": b"two words"}, "InvalidKey"),
        ({"tom": "schlüssel".encode()}, "InvalidKey"),
        ({"tom": b"x" * 1025}, "InvalidKey"),
    ],
)
async def test_a_secret_without_a_usable_key_opens_nothing(
    bench: Bench, values: dict[str, bytes] | None, reason: str
) -> None:
    bench.world.add(token(key=None, **IN_SECRET))
    if values is not None:
        bench.secrets.values[Key("team", "keys")] = values
    found = await bench.ready()
    assert ("False", reason) == (found.status, found.reason)
    assert not any(
        value.decode(errors="replace") in found.message for value in (values or {}).values() if len(value) > 1
    )


async def test_a_hashed_key_works_like_the_key_itself(bench: Bench) -> None:
    bench.world.add(token(key=None, tokenHash=hash_key(PEPPER, "sk-hashed")))
    await bench.keyring.load()
    assert bench.world.directory.holder("sk-hashed") is not None


async def test_a_token_is_looked_at_again_when_a_key_of_it_expires(bench: Bench) -> None:
    previous = [{"token": "sk-old", "until": "2026-01-01T00:00:30Z"}]
    bench.world.add(token(expiresAt="2026-01-01T01:00:00Z", previous=previous))
    await bench.ready()
    assert Requeue(30.0) == bench.requeue


async def test_a_quota_that_does_not_exist_is_a_warning(bench: Bench) -> None:
    bench.world.add(token(qos=[{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "q"}}]))
    found = await bench.ready()
    assert ("True", "QuotaNotFound") == (found.status, found.reason)
    bench.world.add(quota())
    assert "Ready" == (await bench.ready()).reason


async def test_a_quota_that_comes_makes_its_tokens_due(bench: Bench) -> None:
    due: list[Key] = []
    named = [{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "q"}}]
    bench.world.add(token(qos=named), token("ann", "sk-ann"), token("eve", "sk-eve", namespace="other", qos=named))
    bench.tokens.follow(bench.world.quotas, due.append)
    bench.world.add(quota())
    assert [TOM] == due
    bench.world.add(quota(total=7))
    assert [TOM] == due
    bench.world.quotas.apply(Key("team", "q"), None)
    assert [TOM, TOM] == due


async def test_a_secret_is_read_once_for_directory_and_status_together(bench: Bench) -> None:
    bench.world.add(token(key=None, **IN_SECRET))
    bench.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret"}
    await bench.keyring.load()
    await bench.keyring.reconcile(TOM)
    await bench.ready()
    assert 1 == len(bench.secrets.reads)
    await bench.keyring.reconcile(TOM)
    assert 2 == len(bench.secrets.reads)


async def test_a_key_that_appears_or_goes_makes_its_tokens_status_due(bench: Bench) -> None:
    due: list[Key] = []
    bench.world.add(token(key=None, **IN_SECRET))
    bench.keyring.on_change(due.append)
    assert "SecretNotFound" == (await bench.ready()).reason
    bench.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret"}
    await bench.keyring.reconcile(TOM)
    assert ([TOM], "Ready") == (due, (await bench.ready()).reason)


async def test_hundreds_of_secrets_are_read_no_faster_than_a_core_can_spare(bench: Bench) -> None:
    number = 600
    bench.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret"}
    bench.world.add(*(token(f"user-{one}", None, **IN_SECRET) for one in range(number)))
    await bench.keyring.load()
    waits = [await bench.keyring.reconcile(key) for key, _ in bench.world.tokens.items()]
    reads_per_second = sum(1 / wait.after_seconds for wait in waits if wait is not None)
    assert number == len(waits) == len(bench.secrets.reads)
    assert SECRET_READS_PER_SECOND == pytest.approx(reads_per_second, rel=0.2)


async def test_a_deleted_tokens_keys_are_forgotten(bench: Bench) -> None:
    bench.world.add(token())
    bench.world.tokens.apply(TOM, None)
    await bench.keyring.reconcile(TOM)
    bench.world.tokens.apply(TOM, token())
    assert None is bench.world.directory.holder("sk-tom")
