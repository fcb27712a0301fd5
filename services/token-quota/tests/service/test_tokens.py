import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from arks.contracts.conditions import find_condition
from arks.contracts.resources import Condition, hash_key
from arks.kit.key import Key
from arks.kit.reconcile import Requeue
from arks.kit.resource_events import ResourceEvents
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.fakes import FakeSecrets
from arks.token_quota.domain.token import record_of
from arks.token_quota.service.keyring import SECRET_READS_PER_SECOND, SECRET_SECONDS, Keyring
from arks.token_quota.service.tokens import TokenReconciler
from arks.token_quota.testing.fakes import PEPPER, FakeEvents, FakeRecords, Harness, quota, token

TOM, ANN = Key("team", "tom"), Key("team", "ann")
IN_SECRET: dict[str, Any] = {"tokenSecretRef": {"name": "keys", "key": "tom"}}


class TokensHarness:
    def __init__(self, harness: Harness, events: FakeEvents, clock: FakeClock) -> None:
        self.harness, self.events = harness, events
        self.records, self.secrets = FakeRecords(harness.tokens), FakeSecrets()
        self.keyring = Keyring(self.records, harness.index, self.secrets)
        self.reconciler = TokenReconciler(self.records, harness.index, self.keyring, ResourceEvents(events), clock)

    async def ready(self, key: Key = TOM) -> Condition:
        self.requeue = await self.reconciler.reconcile(key)
        found = find_condition(self.records.statuses[key].conditions, "Ready")
        assert found is not None
        return found


@pytest.fixture
def tokens(harness: Harness, events: FakeEvents, clock: FakeClock) -> TokensHarness:
    return TokensHarness(harness, events, clock)


async def test_an_active_token_is_ready_and_published_once(tokens: TokensHarness) -> None:
    tokens.harness.add(token())
    first = await tokens.ready()
    again = await tokens.ready()
    assert ("True", "Ready", 1) == (first.status, first.reason, first.observed_generation)
    assert first == again
    assert [("token.ready", "team/tom", "Ready")] == tokens.events.published


async def test_a_status_that_is_current_is_not_written_again(tokens: TokensHarness) -> None:
    tokens.harness.add(token())
    await tokens.ready()
    await tokens.ready()
    assert 1 == tokens.records.writes


async def test_only_a_token_whose_status_may_change_is_due(tokens: TokensHarness) -> None:
    named = [{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "q"}}]
    tokens.harness.add(token(qos=named))
    due = [tokens.reconciler.is_due(TOM)]
    await tokens.ready()
    due.append(tokens.reconciler.is_due(TOM))
    tokens.harness.add(quota())
    due.append(tokens.reconciler.is_due(TOM))
    await tokens.ready()
    due.append(tokens.reconciler.is_due(TOM))
    tokens.harness.tokens.apply(TOM, None)
    due.append(tokens.reconciler.is_due(TOM))
    assert [True, False, True, False, False] == due


@pytest.mark.parametrize(
    "spec",
    [
        {"key": None, **IN_SECRET},
        {"expiresAt": "2026-01-01T01:00:00Z"},
        {"previous": [{"token": "sk-old", "until": "2026-01-01T00:00:30Z"}]},
    ],
)
async def test_a_token_with_a_secret_or_an_end_is_always_due(tokens: TokensHarness, spec: dict[str, Any]) -> None:
    tokens.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret"}
    tokens.harness.add(token(**spec))
    await tokens.ready()
    assert tokens.reconciler.is_due(TOM)


async def test_a_condition_keeps_its_time_until_its_status_changes(tokens: TokensHarness, clock: FakeClock) -> None:
    named = [{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "q"}}]
    tokens.harness.add(token(qos=named))
    first = await tokens.ready()
    clock.advance(60)
    steps: tuple[dict[str, Any], ...] = ({"disabled": True}, {})
    for spec in steps:
        changed = record_of(token(qos=named, **spec), tokens.harness.index.hash)
        tokens.harness.tokens.apply(TOM, changed.with_status(tokens.records.statuses[TOM]))
        tokens.harness.add(quota())
        found = await tokens.ready()
        expected = ("Disabled", first.last_transition_time) if spec else ("Ready", clock.now())
        assert expected == (found.reason, found.last_transition_time)
    assert "QuotaNotFound" == first.reason


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"disabled": True}, "Disabled"),
        ({"expiresAt": "2025-12-31T00:00:00Z"}, "Expired"),
    ],
)
async def test_a_rejected_key_has_its_reason_in_status(
    tokens: TokensHarness, spec: dict[str, Any], reason: str
) -> None:
    tokens.harness.add(token(**spec))
    found = await tokens.ready()
    assert ("False", reason, [("token.refused", "team/tom", reason)]) == (
        found.status,
        found.reason,
        tokens.events.published,
    )


async def test_the_newer_token_with_the_same_key_does_not_see_the_other_token(tokens: TokensHarness) -> None:
    tokens.harness.add(token("ann", "sk-tom", namespace="rivals", created="2025-01-01T00:00:00Z"), token())
    found = await tokens.ready()
    assert ("False", "DuplicateKey") == (found.status, found.reason)
    assert "rivals" not in found.message and "ann" not in found.message


async def test_a_token_with_a_key_of_a_deleted_token_elsewhere_has_a_reason_without_its_name(
    tokens: TokensHarness,
) -> None:
    tokens.harness.add(token("ann", "sk-tom", namespace="rivals", created="2025-01-01T00:00:00Z"), token())
    await tokens.ready()
    tokens.harness.tokens.apply(Key("rivals", "ann"), None)
    assert tokens.reconciler.is_due(TOM)
    found = await tokens.ready()
    assert ("False", "ReservedKey") == (found.status, found.reason)
    assert "reserved" in found.message
    assert "rivals" not in found.message and "ann" not in found.message
    assert None is tokens.harness.index.holder("sk-tom")


async def test_a_key_in_a_secret_is_read_and_looked_after(tokens: TokensHarness) -> None:
    tokens.harness.add(token(key=None, **IN_SECRET))
    tokens.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret\n"}
    assert Requeue(SECRET_SECONDS) == await tokens.keyring.reconcile(TOM)
    assert "True" == (await tokens.ready()).status
    assert tokens.harness.index.holder("sk-in-secret") is not None
    tokens.secrets.values[Key("team", "keys")] = {"tom": b"sk-rotated"}
    await tokens.keyring.reconcile(TOM)
    assert (None, True) == (
        tokens.harness.index.holder("sk-in-secret"),
        tokens.harness.index.holder("sk-rotated") is not None,
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
    tokens: TokensHarness, values: dict[str, bytes] | None, reason: str
) -> None:
    tokens.harness.add(token(key=None, **IN_SECRET))
    if values is not None:
        tokens.secrets.values[Key("team", "keys")] = values
    found = await tokens.ready()
    assert ("False", reason) == (found.status, found.reason)
    assert not any(
        value.decode(errors="replace") in found.message for value in (values or {}).values() if len(value) > 1
    )


async def test_a_secret_that_is_missing_for_a_while_gives_its_key_to_no_other_namespace(tokens: TokensHarness) -> None:
    tokens.harness.add(token(key=None, **IN_SECRET))
    tokens.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret"}
    await tokens.keyring.reconcile(TOM)
    tokens.harness.add(token("ann", "sk-in-secret", namespace="rivals", created="2027-01-01T00:00:00Z"))
    del tokens.secrets.values[Key("team", "keys")]
    await tokens.keyring.reconcile(TOM)
    assert None is tokens.harness.index.holder("sk-in-secret")


async def test_a_hashed_key_works_like_the_key_itself(tokens: TokensHarness) -> None:
    tokens.harness.add(token(key=None, tokenHash=hash_key(PEPPER, "sk-hashed")))
    await tokens.keyring.load()
    assert tokens.harness.index.holder("sk-hashed") is not None


async def test_a_token_is_looked_at_again_when_a_key_of_it_expires(tokens: TokensHarness) -> None:
    previous = [{"token": "sk-old", "until": "2026-01-01T00:00:30Z"}]
    tokens.harness.add(token(expiresAt="2026-01-01T01:00:00Z", previous=previous))
    await tokens.ready()
    assert Requeue(30.0) == tokens.requeue


async def test_a_token_is_not_ready_while_its_quota_does_not_exist(tokens: TokensHarness) -> None:
    tokens.harness.add(token(qos=[{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "q"}}]))
    found = await tokens.ready()
    assert ("False", "QuotaNotFound") == (found.status, found.reason)
    tokens.harness.add(quota())
    assert "Ready" == (await tokens.ready()).reason


async def test_a_quota_that_comes_makes_its_tokens_due(tokens: TokensHarness) -> None:
    due: list[Key] = []
    named = [{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "q"}}]
    tokens.harness.add(token(qos=named), token("ann", "sk-ann"), token("eve", "sk-eve", namespace="other", qos=named))
    tokens.harness.index.token_changes.subscribe(due.append)
    tokens.harness.add(quota())
    assert [TOM] == due
    tokens.harness.add(quota(total=7))
    assert [TOM] == due
    tokens.harness.quotas.apply(Key("team", "q"), None)
    assert [TOM, TOM] == due


async def test_a_secret_is_read_once_for_directory_and_status_together(tokens: TokensHarness) -> None:
    tokens.harness.add(token(key=None, **IN_SECRET))
    tokens.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret"}
    await tokens.keyring.load()
    await tokens.keyring.reconcile(TOM)
    await tokens.ready()
    assert 1 == len(tokens.secrets.reads)
    await tokens.keyring.reconcile(TOM)
    assert 2 == len(tokens.secrets.reads)


async def test_a_secret_that_is_being_loaded_is_not_read_for_others_too(
    tokens: TokensHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens.harness.add(token(key=None, **IN_SECRET))
    tokens.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret"}
    begun, continues, read = asyncio.Event(), asyncio.Event(), tokens.secrets.read

    async def read_later(key: Key) -> Mapping[str, bytes] | None:
        begun.set()
        await continues.wait()
        return await read(key)

    monkeypatch.setattr(tokens.secrets, "read", read_later)
    loading = asyncio.create_task(tokens.keyring.load())
    await begun.wait()
    others = [asyncio.create_task(tokens.keyring.reconcile(TOM)), asyncio.create_task(tokens.ready())]
    continues.set()
    await asyncio.gather(loading, *others)
    assert 1 == len(tokens.secrets.reads)


async def test_a_key_that_appears_or_goes_makes_its_tokens_status_due(tokens: TokensHarness) -> None:
    due: list[Key] = []
    tokens.harness.add(token(key=None, **IN_SECRET))
    tokens.harness.index.token_changes.subscribe(due.append)
    assert "SecretNotFound" == (await tokens.ready()).reason
    tokens.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret"}
    due.clear()
    await tokens.keyring.reconcile(TOM)
    assert [TOM] == due
    assert "Ready" == (await tokens.ready()).reason


@pytest.mark.parametrize("secret", [{"tom": b"sk-in-secret"}, {}], ids=["readable", "unreadable"])
async def test_hundreds_of_secrets_are_read_no_faster_than_a_core_can_spare(
    tokens: TokensHarness, secret: dict[str, bytes]
) -> None:
    number = 600
    tokens.secrets.values[Key("team", "keys")] = secret
    tokens.harness.add(*(token(f"user-{user}", None, **IN_SECRET) for user in range(number)))
    await tokens.keyring.load()
    waits = [await tokens.keyring.reconcile(key) for key, _ in tokens.harness.tokens.items()]
    reads_per_second = sum(1 / wait.after_seconds for wait in waits if wait is not None)
    assert number == len(waits) == len(tokens.secrets.reads)
    assert SECRET_READS_PER_SECOND == pytest.approx(reads_per_second, rel=0.2)


async def test_a_deleted_tokens_keys_are_forgotten(tokens: TokensHarness) -> None:
    tokens.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret"}
    tokens.harness.add(token(), token("ann", None, **IN_SECRET))
    await tokens.keyring.reconcile(ANN)
    for key in (TOM, ANN):
        tokens.harness.tokens.apply(key, None)
    assert (True, False) == (tokens.keyring.concerns(ANN), tokens.keyring.concerns(TOM))
    await tokens.keyring.reconcile(ANN)
    assert not tokens.keyring.concerns(ANN)
    tokens.harness.add(token(key="sk-new"), token("ann", None, **IN_SECRET))
    assert (None, None) == (tokens.harness.index.holder("sk-tom"), tokens.harness.index.holder("sk-in-secret"))


async def test_a_deleted_token_whose_key_could_not_be_read_is_forgotten(tokens: TokensHarness) -> None:
    tokens.harness.add(token(key=None, **IN_SECRET))
    await tokens.keyring.reconcile(TOM)
    tokens.harness.tokens.apply(TOM, None)
    assert tokens.keyring.concerns(TOM)
    await tokens.keyring.reconcile(TOM)
    assert not tokens.keyring.concerns(TOM)


async def test_secrets_that_become_readable_are_read_as_often_as_few(tokens: TokensHarness) -> None:
    """Those that cannot be read wait for each other only."""
    tokens.harness.add(*(token(f"user-{user}", None, **IN_SECRET) for user in range(100)))
    await tokens.keyring.load()
    keys = [key for key, _ in tokens.harness.tokens.items()]
    tokens.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret"}
    for key in keys[1:]:
        await tokens.keyring.reconcile(key)  # as it was loaded
        await tokens.keyring.reconcile(key)
    assert Requeue(SECRET_SECONDS) == await tokens.keyring.reconcile(keys[0])


async def test_a_key_moves_from_a_secret_into_the_token_and_back(tokens: TokensHarness) -> None:
    tokens.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret"}
    in_secret = {"key": None, **IN_SECRET}
    for spec, key in ((in_secret, "sk-in-secret"), ({}, "sk-tom"), (in_secret, "sk-in-secret")):
        tokens.harness.add(token(**spec))
        if tokens.keyring.concerns(TOM):
            await tokens.keyring.reconcile(TOM)
        found = [name for name in ("sk-in-secret", "sk-tom") if tokens.harness.index.holder(name) is not None]
        assert [key] == found
        assert "True" == (await tokens.ready()).status


async def test_a_token_that_is_deleted_while_its_secret_is_read_opens_nothing(tokens: TokensHarness) -> None:
    tokens.secrets.values[Key("team", "keys")] = {"tom": b"sk-in-secret"}
    tokens.harness.add(token(key=None, **IN_SECRET))
    record = tokens.harness.tokens.get(TOM)
    assert record is not None
    tokens.harness.tokens.apply(TOM, msgspec.structs.replace(record, deleting=True))
    await tokens.keyring.reading(TOM, record)
    tokens.harness.add(token("ann", "sk-in-secret", created="2027-01-01T00:00:00Z"))
    assert "True" == (await tokens.ready(ANN)).status
