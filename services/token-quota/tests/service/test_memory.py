"""What a token costs in memory: there may be 100,000, and the whole service is to stay under 300 MB."""

import asyncio
import gc
import json
import tracemalloc
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, cast

from nats.js.kv import KeyValue
from prometheus_client import CollectorRegistry, Counter

from arks.contracts.resources import ArksToken, hash_key, key_digest
from arks.contracts.subjects import resource_key
from arks.kit.bus import Bus
from arks.kit.cache import Cache
from arks.kit.clock import SystemClock
from arks.kit.faults import Faults
from arks.kit.key import Key
from arks.kit.resource_events import ResourceEvents
from arks.kit.resources import LocalRecords, LocalResources
from arks.kit.testing.fakes import FakeSecrets
from arks.token_quota.domain.token import TokenRecord, record_of
from arks.token_quota.service.budgets import Budgets
from arks.token_quota.service.index import Index
from arks.token_quota.service.keyring import Keyring
from arks.token_quota.service.tokens import TokenReconciler
from arks.token_quota.testing.fakes import PEPPER, FakeEvents

TOKENS = 2000
MAX_BYTES = 1200
"""A token; measured: 993. 100,000 of them are then at most 120 MB on top of about 130 MB."""


def entry(number: int) -> KeyValue.Entry:
    rates = [{"type": kind, "value": 1_000_000} for kind in ("rpm", "rpd", "tpm", "tpd")]
    qos = [{"arksEndpoint": {"name": name}, "rateLimits": rates, "quota": {"name": "q"}} for name in ("qwen", "phi")]
    condition = {
        "type": "Ready",
        "status": "False",
        "lastTransitionTime": f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z",
        "reason": "QuotaNotFound",
        "message": f"ArksQuota q not found in team-{number % 20}; requests charged to it are rejected",
        "observedGeneration": 1,
    }
    namespace, name = f"team-{number % 20}", f"user-{number:06}"
    stored = {
        "apiVersion": "arks.ai/v1",
        "kind": "ArksToken",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"0d7f5c1e-7c1d-4a3c-8b5e-{number:012}",
            "creationTimestamp": condition["lastTransitionTime"],
            "generation": 1,
        },
        "spec": {"tokenHash": hash_key(PEPPER, f"sk-{number}"), "qos": qos},
        "status": {"observedGeneration": 1, "conditions": [condition]},
    }
    return KeyValue.Entry(
        bucket="b",
        key=resource_key("arkstokens", namespace, name),
        value=json.dumps(stored).encode(),
        revision=number + 1,
        delta=0,
        created=None,
        operation=None,
    )


class ListedOnce:
    """A bus with one session and one bucket, whose watch lists all tokens and then stays silent."""

    def __init__(self) -> None:
        self.faults = Faults(Counter("unreadable", "Entries", ["source"], registry=CollectorRegistry()))

    async def sessions(self) -> AsyncIterator[int]:
        yield 1

    def session_is(self, number: int) -> bool:
        return True

    async def session_ended(self, number: int) -> None:
        await asyncio.Event().wait()

    async def bucket(self, name: str) -> "ListedOnce":
        return self

    async def watch(self, pattern: str) -> "ListedOnce":
        self._entries = iter(range(TOKENS))
        self._listed = False
        return self

    async def stop(self) -> None: ...

    async def updates(self, timeout: float) -> Any:  # noqa: ASYNC109  # as of the library
        if (number := next(self._entries, None)) is not None:
            return entry(number)
        if self._listed:
            await asyncio.Event().wait()
        self._listed = True
        return None


async def load() -> tuple[LocalRecords[TokenRecord], Index]:
    """Everything of the service that keeps something of each token, after the first list and all reconciles."""
    resources = LocalResources(cast("Bus", ListedOnce()), ArksToken)
    records = LocalRecords(resources, lambda token: record_of(token, partial(key_digest, PEPPER)))
    index = Index(PEPPER, records.cache, Budgets(Cache()), Cache())
    keyring = Keyring(records, index, FakeSecrets())
    events = FakeEvents()
    reconciler = TokenReconciler(records, index, keyring, ResourceEvents(events), SystemClock())
    watching = asyncio.create_task(records.run())
    synced = asyncio.create_task(records.cache.synced.wait())
    await asyncio.wait({watching, synced}, return_when=asyncio.FIRST_COMPLETED)
    assert not watching.done(), watching
    await keyring.load()
    for key in dict(records.cache.items()):
        await keyring.reconcile(key)
        await reconciler.reconcile(key)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert [] == events.published
    return records, index


async def test_a_token_costs_little_memory() -> None:
    await load()  # fills what is made once
    gc.collect()
    tracemalloc.start()
    try:
        records, index = await load()
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (TOKENS, Key("team-7", "user-000007")) == (len(records.cache), key_of(index, "sk-7"))
    assert taken / TOKENS < MAX_BYTES


def key_of(index: Index, key: str) -> Key | None:
    holder = index.holder(key)
    return None if holder is None else Key(holder.policy.namespace, holder.policy.name)
