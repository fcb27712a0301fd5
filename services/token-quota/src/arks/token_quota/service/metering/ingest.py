"""Usage batches from the stream into the ledger, acknowledged after the commit."""

import asyncio
from collections.abc import Sequence

import structlog

from arks.kit.tracing import NoTracer, Tracer
from arks.token_quota.domain.batch import UsageBatch
from arks.token_quota.domain.posting import Posting
from arks.token_quota.service.metering.context import RETRY_SECONDS, MeteringContext
from arks.token_quota.service.metering.projector import Projector
from arks.token_quota.service.ports.ledger import LedgerUnavailable
from arks.token_quota.service.ports.usage_stream import UsageStream

log = structlog.get_logger(__name__)


class Ingest:
    def __init__(
        self, stream: UsageStream, context: MeteringContext, projector: Projector, tracer: Tracer | None = None
    ) -> None:
        self._stream = stream
        self._context = context
        self._projector = projector
        self._tracer = tracer or NoTracer()

    async def run(self) -> None:
        async for messages in self._stream.messages():
            batches = [batch for message in messages if (batch := message.batch()) is not None]
            records = sum(len(batch.records) for batch in batches)
            with self._tracer.span("settle", {"arks.batches": len(batches), "arks.records": records}):
                await self._post(batches)
            self._context.metrics.records_taken(not_understood=len(messages) - len(batches))
            for message in messages:
                await message.ack()

    async def _post(self, batches: Sequence[UsageBatch]) -> None:
        """Returns when the ledger has all of them, however long that takes."""
        while True:
            try:
                quota_of = self._context.charged_quotas.of
                postings = await self._context.ledger.post(batches, quota_of, self._context.now())
                break
            except LedgerUnavailable as error:
                self._context.metrics.ledger_failed()
                log.warning("usage waits for the ledger", batches=len(batches), error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
        self._projector.wake({posting.batch.namespace for posting in postings})
        self._report(batches, postings)

    def _report(self, batches: Sequence[UsageBatch], postings: Sequence[Posting]) -> None:
        metrics = self._context.metrics
        for posting in postings:
            metrics.posted(posting)
            if posting.charged:
                metrics.reservations_charged(len(posting.charged))
                log.warning(
                    "requests without usage are charged their reservations",
                    namespace=posting.batch.namespace,
                    requests=len(posting.charged),
                )
        entries = sum(len(posting.entries) for posting in postings)
        metrics.records_taken(posted=entries, known=sum(len(batch.records) for batch in batches) - entries)
        ends = [r.started_at_milliseconds + r.duration_milliseconds for batch in batches for r in batch.records]
        if ends:
            metrics.newest_record(max(0.0, (self._context.now().milliseconds - max(ends)) / 1000))
