from typing import Any

import pytest

from arks.contracts.conditions import find_condition
from arks.contracts.resources import ArksTokenStatus, Condition, hash_key
from arks.kit.key import Key
from arks.kit.reconcile import Requeue
from arks.kit.testing.clock import FakeClock
from arks.token_quota.service.keyring import SECRET_READS_PER_SECOND, SECRET_SECONDS, Keyring
from arks.token_quota.service.tokens import TokenReconciler
from arks.token_quota.testing.fakes import PEPPER, FakeEvents, FakeResources, FakeSecrets, Harness, quota, token

TOM = Key("team", "tom")
IN_SECRET: dict[str, Any] = {"tokenSecretRef": {"name": "keys", "key": "tom"}}


class Bench:
    def __init__(self, harness: Harness, events: FakeEvents, clock: FakeClock) -> None:
        self.harness, self.events = harness, events
        self.resources, self.secrets = FakeResources(harness.tokens), FakeSecrets()
        self.keyring = Keyring(self.resources, harness.index, self.secrets)
        self.tokens = TokenReconciler(self.resources, harness.index, self.keyring, events, clock)

    async def ready(self, key: Key = TOM) -> Condition:
        self.requeue = await self.tokens.reconcile(key)
        status = self.resources.statuses[key]
        assert isinstance(status, ArksTokenStatus)
        found = find_condition(status.conditions, "Ready")
        assert found is not None
        return found


@pytest.fixture
def bench(harness: Harness, events: FakeEvents, clock: FakeClock) -> Bench:
    return Bench(harness, events, clock)


async def test_an_active_token_is_ready_and_published_once(bench: Bench) -> None:
    bench.harness.add(token())
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
async def test_a_rejected_key_has_its_reason_in_status(bench: Bench, spec: dict[str, Any], reason: str) -> None:
    bench.harness.add(token(**spec))
    found = await bench.ready()
    assert ("False", reason, [("token.refused", "team/tom", reason)]) == (
        found.status,
        found.reason,
        bench.events.published,
    )


async def test_the_newer_token_with_the_same_key_does_not_see_the_other_token(bench: Bench) -> None:
    bench.harness.add(token("ann", "sk-tom", namespace="rivals", created="2025-01-01T00:00:00Z"), token())
    found = await bench.ready()
    assert ("False", "DuplicateKey") == (found.status, found.reason)
    assert "rivals" not in found.message and "ann" not in found.message


async def test_a_key_in_a_secret_is_read_and_looked_after(bench: Bench) -> None:
    bench.harness.add(token(key=None, **IN_SECRET))
    bench.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret\n"}
    assert Requeue(SECRET_SECONDS) == await bench.keyring.reconcile(TOM)
    assert "True" == (await bench.ready()).status
    assert bench.harness.index.holder("sk-in-secret") is not None
    bench.secrets.values[Key("team", "keys")] = {"tom": b"sk-rotated"}
    await bench.keyring.reconcile(TOM)
    assert (None, True) == (
        bench.harness.index.holder("sk-in-secret"),
        bench.harness.index.holder("sk-rotated") is not None,
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
    bench.harness.add(token(key=None, **IN_SECRET))
    if values is not None:
        bench.secrets.values[Key("team", "keys")] = values
    found = await bench.ready()
    assert ("False", reason) == (found.status, found.reason)
    assert not any(
        value.decode(errors="replace") in found.message for value in (values or {}).values() if len(value) > 1
    )


async def test_a_hashed_key_works_like_the_key_itself(bench: Bench) -> None:
    bench.harness.add(token(key=None, tokenHash=hash_key(PEPPER, "sk-hashed")))
    await bench.keyring.load()
    assert bench.harness.index.holder("sk-hashed") is not None


async def test_a_token_is_looked_at_again_when_a_key_of_it_expires(bench: Bench) -> None:
    previous = [{"token": "sk-old", "until": "2026-01-01T00:00:30Z"}]
    bench.harness.add(token(expiresAt="2026-01-01T01:00:00Z", previous=previous))
    await bench.ready()
    assert Requeue(30.0) == bench.requeue


async def test_a_quota_that_does_not_exist_is_a_warning(bench: Bench) -> None:
    bench.harness.add(token(qos=[{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "q"}}]))
    found = await bench.ready()
    assert ("True", "QuotaNotFound") == (found.status, found.reason)
    bench.harness.add(quota())
    assert "Ready" == (await bench.ready()).reason


async def test_a_quota_that_comes_makes_its_tokens_due(bench: Bench) -> None:
    due: list[Key] = []
    named = [{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "q"}}]
    bench.harness.add(token(qos=named), token("ann", "sk-ann"), token("eve", "sk-eve", namespace="other", qos=named))
    bench.harness.index.token_changes.subscribe(due.append)
    bench.harness.add(quota())
    assert [TOM] == due
    bench.harness.add(quota(total=7))
    assert [TOM] == due
    bench.harness.quotas.apply(Key("team", "q"), None)
    assert [TOM, TOM] == due


async def test_a_secret_is_read_once_for_directory_and_status_together(bench: Bench) -> None:
    bench.harness.add(token(key=None, **IN_SECRET))
    bench.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret"}
    await bench.keyring.load()
    await bench.keyring.reconcile(TOM)
    await bench.ready()
    assert 1 == len(bench.secrets.reads)
    await bench.keyring.reconcile(TOM)
    assert 2 == len(bench.secrets.reads)


async def test_a_key_that_appears_or_goes_makes_its_tokens_status_due(bench: Bench) -> None:
    due: list[Key] = []
    bench.harness.add(token(key=None, **IN_SECRET))
    bench.harness.index.token_changes.subscribe(due.append)
    assert "SecretNotFound" == (await bench.ready()).reason
    bench.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret"}
    due.clear()
    await bench.keyring.reconcile(TOM)
    assert [TOM] == due
    assert "Ready" == (await bench.ready()).reason


async def test_hundreds_of_secrets_are_read_no_faster_than_a_core_can_spare(bench: Bench) -> None:
    number = 600
    bench.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret"}
    bench.harness.add(*(token(f"user-{user}", None, **IN_SECRET) for user in range(number)))
    await bench.keyring.load()
    waits = [await bench.keyring.reconcile(key) for key, _ in bench.harness.tokens.items()]
    reads_per_second = sum(1 / wait.after_seconds for wait in waits if wait is not None)
    assert number == len(waits) == len(bench.secrets.reads)
    assert SECRET_READS_PER_SECOND == pytest.approx(reads_per_second, rel=0.2)


async def test_a_deleted_tokens_keys_are_forgotten(bench: Bench) -> None:
    bench.harness.add(token())
    bench.harness.tokens.apply(TOM, None)
    await bench.keyring.reconcile(TOM)
    bench.harness.tokens.apply(TOM, token())
    assert None is bench.harness.index.holder("sk-tom")
