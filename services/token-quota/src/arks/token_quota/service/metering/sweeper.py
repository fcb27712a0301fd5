"""Reservations without usage become charges; those of rejected requests are released."""

import asyncio

import structlog

from arks.token_quota.service.metering.context import MeteringContext
from arks.token_quota.service.metering.projector import Projector
from arks.token_quota.service.ports.counters import CountersUnavailable
from arks.token_quota.service.ports.ledger import LedgerUnavailable
from arks.token_quota.service.release_queue import ReleaseQueue

log = structlog.get_logger(__name__)

SWEEP_RESERVATIONS = 500


class Sweeper:
    def __init__(
        self, context: MeteringContext, projector: Projector, releases: ReleaseQueue, interval_seconds: float
    ) -> None:
        self._context = context
        self._projector = projector
        self._releases = releases
        self._interval_seconds = interval_seconds

    async def run(self) -> None:
        while True:
            try:
                await self.sweep()
            except (CountersUnavailable, LedgerUnavailable) as error:
                log.warning("expired reservations wait", error=str(error))
            await asyncio.sleep(self._interval_seconds)

    async def sweep(self) -> None:
        """Raises CountersUnavailable and LedgerUnavailable."""
        await self._release_rejected()
        for namespace in sorted(self._context.index.namespaces() | self._projector.namespaces()):
            while await self._charge_expired(namespace) == SWEEP_RESERVATIONS:
                pass

    async def _release_rejected(self) -> None:
        while self._releases:
            release = self._releases[0]
            await self._context.counters.release(release.namespace, [release.request_id])
            self._releases.popleft()

    async def _charge_expired(self, namespace: str) -> int:
        counters, metrics, now = self._context.counters, self._context.metrics, self._context.now()
        if not await counters.expired(namespace, now, 1):
            return 0
        await self._projector.bring_forward(namespace)  # settles those whose usage is in the ledger
        expired = await counters.expired(namespace, now, SWEEP_RESERVATIONS)
        entries = await self._context.ledger.post([reservation.charge() for reservation in expired], now)
        for entry in entries:
            metrics.entry_posted(entry)
        metrics.reservations_charged(len(entries))
        if entries:
            log.warning(
                "requests without usage are charged their reservations", namespace=namespace, requests=len(entries)
            )
        charged = {entry.usage.request_id for entry in entries}
        await self._release_settled(namespace, {reservation.request_id for reservation in expired} - charged)
        await self._projector.bring_forward(namespace)
        return len(expired)

    async def _release_settled(self, namespace: str, request_ids: set[str]) -> None:
        """Release reservations that were made after their request had been charged: no entry will settle them."""
        if not request_ids:
            return
        last_seqs = await self._context.ledger.last_seqs(sorted(request_ids))
        cursor = self._projector.cursor(namespace)
        await self._context.counters.release(
            namespace, sorted(request_id for request_id, seq in last_seqs.items() if seq <= cursor)
        )
