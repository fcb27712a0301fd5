"""What sets app-deployer to work: changes of applications, of models, and of what runs."""

import asyncio
from collections.abc import Awaitable, Callable

from arks.app_deployer.domain.workload import Change
from arks.app_deployer.service import Announcer, AppDeployer, Workloads
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.home import Resources
from arks.kit.reconcile import Backoff, Controller, Key, Requeue

_BACKOFF = Backoff(first_seconds=0.1, longest_seconds=10.0)


class Watch:
    """Two controllers, and the first pass over everything that exists."""

    def __init__(
        self,
        deployer: AppDeployer,
        *,
        applications: Resources[ArksApplication],
        disaggregated: Resources[ArksDisaggregatedApplication],
        models: Cache[ModelFact],
        workloads: Workloads,
        announcer: Announcer,
        clock: Clock,
        leading: Callable[[], Awaitable[None]],
    ) -> None:
        """`leading` returns when this replica of app-deployer may act and speak."""
        self._leading = leading
        self._leads = False
        self._deployer = deployer
        self._applications = applications.cache
        self._announcer = announcer
        self._seen: set[Key] = set()
        self._one_more = asyncio.Event()
        self._controller = Controller("applications", self._reconcile, backoff=_BACKOFF, clock=clock)
        others = Controller("disaggregated", deployer.reconcile_disaggregated, backoff=_BACKOFF, clock=clock)
        self.controllers = [self._controller, others]
        applications.cache.subscribe(self._controller.enqueue)
        disaggregated.cache.subscribe(others.enqueue)
        models.subscribe(lambda key: _enqueue(self._controller, deployer.users_of(key)))
        models.subscribe(lambda key: _enqueue(others, deployer.disaggregated_users_of(key)))
        workloads.subscribe(self._on_change)

    async def first_pass(self) -> None:
        """Ends what nobody wants, and says when everything has been announced once. Then waits for ever."""
        await self._leading()
        self._leads = True
        await self._applications.synced.wait()
        existing = {key for key, _ in self._applications.items()}
        _enqueue(self._controller, self._deployer.strays())
        while existing - self._seen:
            self._one_more.clear()
            await self._one_more.wait()
        self._announcer.complete()
        await asyncio.Event().wait()

    async def _reconcile(self, key: Key) -> Requeue | None:
        requeue = await self._deployer.reconcile(key)
        self._seen.add(key)
        self._one_more.set()
        return requeue

    def _on_change(self, change: Change) -> None:
        if self._leads:
            self._deployer.on_change(change)
        self._controller.enqueue(Key(change.namespace, change.application))


def _enqueue(controller: Controller, keys: set[Key]) -> None:
    for key in keys:
        controller.enqueue(key)
