"""Requests without usage become charges; leases whose grant never reached a gateway return."""

import asyncio
from itertools import groupby

import structlog

from arks.contracts.usage import UsageSource
from arks.kit.errors import Unavailable
from arks.token_quota.domain.batch import UsageBatch, UsageRecord
from arks.token_quota.domain.lease import NO_LEASE
from arks.token_quota.service.metering.context import MeteringContext
from arks.token_quota.service.metering.projector import Projector
from arks.token_quota.service.ports.ledger import OpenRequest
from arks.token_quota.service.ports.usage_stream import UsageStream

log = structlog.get_logger(__name__)

SWEEP_REQUESTS = 500


class Sweeper:
    def __init__(
        self,
        context: MeteringContext,
        projector: Projector,
        stream: UsageStream,
        *,
        interval_seconds: float,
        reservation_seconds: float,
    ) -> None:
        """`reservation_seconds`: how long after its start a request without usage is charged its reservation."""
        self._context = context
        self._projector = projector
        self._stream = stream
        self._interval_seconds = interval_seconds
        self._reservation_milliseconds = int(reservation_seconds * 1000)

    async def run(self) -> None:
        while True:
            try:
                await self.sweep()
            except Unavailable as error:
                log.warning("requests without usage and lost leases wait", error=str(error))
            await asyncio.sleep(self._interval_seconds)

    async def sweep(self) -> None:
        """Raises CountersUnavailable, LedgerUnavailable and Unavailable (the stream). Leases return first: they need no
        stream.
        """
        await self._return_lost_leases()
        await self._charge_expired()

    async def _return_lost_leases(self) -> None:
        for namespace in sorted(self._context.charged_quotas.namespaces() | self._projector.namespaces()):
            returned = await self._context.counters.return_lost_leases(namespace, self._context.now())
            if returned:
                log.warning("leases that no gateway reported have returned", namespace=namespace, leases=returned)

    async def _charge_expired(self) -> None:
        """The charges are published, so that every consumer of usage gets them; the ledger takes them from there."""
        before = self._context.now().milliseconds - self._reservation_milliseconds
        expired = await self._context.ledger.expired_requests(before, SWEEP_REQUESTS)
        expired.sort(key=lambda request: (request.namespace, request.started.request_id))
        for namespace, requests in groupby(expired, key=lambda request: request.namespace):
            await self._stream.publish(charges(namespace, list(requests)))


def charges(namespace: str, requests: list[OpenRequest]) -> UsageBatch:
    """The batch that charges these requests their reservations. The same requests make the same id."""
    first, last = requests[0].started.request_id, requests[-1].started.request_id
    return UsageBatch(
        id=f"reservations-{first}-{last}-{len(requests)}",
        gateway="",
        namespace=namespace,
        complete_until_milliseconds=0,
        records=[_charge(request) for request in requests],
    )


def _charge(request: OpenRequest) -> UsageRecord:
    started = request.started
    return UsageRecord(
        request_id=started.request_id,
        token=started.token,
        endpoint=started.endpoint,
        operation=started.operation,
        source=UsageSource.RESERVATION.message_name,
        started_at_milliseconds=started.started_at_milliseconds,
        prompt_tokens=started.reserved_prompt_tokens,
        completion_tokens=started.reserved_completion_tokens,
        lease="" if started.lease == NO_LEASE else started.lease,
        reserved_prompt_tokens=started.reserved_prompt_tokens,
        reserved_completion_tokens=started.reserved_completion_tokens,
    )
