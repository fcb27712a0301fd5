"""Usage records from the stream into the ledger, acknowledged after the commit."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from arks.token_quota.domain.usage import Usage
from arks.token_quota.service.metering.context import RETRY_SECONDS, MeteringContext
from arks.token_quota.service.metering.projector import Projector
from arks.token_quota.service.ports.ledger import LedgerUnavailable
from arks.token_quota.service.ports.usage_stream import UsageStream

log = structlog.get_logger(__name__)


class Ingest:
    def __init__(self, stream: UsageStream, context: MeteringContext, projector: Projector) -> None:
        self._stream = stream
        self._context = context
        self._projector = projector

    async def run(self) -> None:
        async for batch in self._stream.batches():
            usages = [usage for message in batch if (usage := message.usage()) is not None]
            await self._post([self._with_quota(usage) for usage in usages])
            self._context.metrics.records_taken(not_understood=len(batch) - len(usages))
            for message in batch:
                await message.ack()

    def _with_quota(self, usage: Usage) -> Usage:
        quota = self._context.index.quota_of(usage.namespace, usage.token, usage.endpoint)
        return replace(usage, quota=quota) if quota else usage

    async def _post(self, usages: Sequence[Usage]) -> None:
        """Returns when the ledger has all of them, however long that takes."""
        while True:
            now = self._context.now()
            try:
                entries = await self._context.ledger.post(usages, now)
                break
            except LedgerUnavailable as error:
                self._context.metrics.ledger_failed()
                log.warning("usage waits for the ledger", records=len(usages), error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
        for entry in entries:
            self._context.metrics.entry_posted(entry)
        self._context.metrics.records_taken(posted=len(entries), known=len(usages) - len(entries))
        if usages:
            newest = max(usage.started_at_milliseconds + usage.duration_milliseconds for usage in usages)
            self._context.metrics.newest_record(max(0.0, (now.milliseconds - newest) / 1000))
        self._projector.wake({entry.usage.namespace for entry in entries})
