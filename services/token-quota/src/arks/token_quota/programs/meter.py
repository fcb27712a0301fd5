"""usage-meter: wiring. Run `python -m arks.token_quota.programs.meter` beside each token-quota, which admits requests:
in a process of its own, batches never hold up an admission, and the processor may prefer what clients wait for.
"""

from arks.contracts.resources import ArksQuota, ArksToken
from arks.kit.app import App
from arks.kit.home import Home
from arks.kit.process import collect_rarely
from arks.kit.start import home_from_environment
from arks.kit.types import AsyncCallable
from arks.token_quota.adapters.counters import RedisCounters
from arks.token_quota.adapters.database import Database
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.adapters.metrics import PrometheusMeteringMetrics
from arks.token_quota.adapters.redis_batches import RedisBatches
from arks.token_quota.adapters.stream import BusUsageStream
from arks.token_quota.config import MeterSettings
from arks.token_quota.domain.token import policy_of
from arks.token_quota.service.budgets import Budgets
from arks.token_quota.service.metering.charged_quotas import ChargedQuotas
from arks.token_quota.service.metering.context import MeteringContext
from arks.token_quota.service.metering.ingest import Ingest
from arks.token_quota.service.metering.projector import Projector
from arks.token_quota.service.metering.pruner import Pruner
from arks.token_quota.service.metering.sweeper import Sweeper
from arks.token_quota.service.migration import Migration


def build(settings: MeterSettings, home: Home) -> App:
    """The whole program on the given home."""
    database = Database(settings.ledger_url)
    counters = RedisCounters(RedisBatches(**settings.redis_arguments()), home.registry)
    context = MeteringContext(
        ChargedQuotas(home.records(ArksToken, policy_of).cache),
        Budgets(home.resources(ArksQuota).cache),
        counters,
        SqlLedger(database),
        PrometheusMeteringMetrics(home.registry),
        home.clock,
    )
    migration = Migration(database.migrate)

    def once_loaded(run: AsyncCallable) -> AsyncCallable:
        """The same task, started when the tables exist, and budgets and tokens are loaded: a batch that is charged
        without its budget would be free.
        """

        async def start() -> None:
            await migration.done()
            await home.synced()
            collect_rarely()  # what is loaded is visited by the first of these calls only
            await run()

        return start

    return App(
        "usage-meter",
        home,
        tasks=[once_loaded(run) for run in _runs(settings, home, context)],
        starts=[migration.run],
        stops=[database.close, counters.close],
        problems=[migration.problem],
    )


def _runs(settings: MeterSettings, home: Home, context: MeteringContext) -> list[AsyncCallable]:
    projector = Projector(context, settings.sweep_seconds)
    stream = BusUsageStream(home.bus)
    sweeper = Sweeper(
        context,
        projector,
        stream,
        interval_seconds=settings.sweep_seconds,
        reservation_seconds=settings.reservation_seconds,
    )
    ingest = Ingest(stream, context, projector, home.tracer)
    pruner = Pruner(context.ledger, home.clock, settings.entries_keep_days)
    return [projector.run, sweeper.run, ingest.run, pruner.run]


if __name__ == "__main__":
    settings = MeterSettings()
    build(settings, home_from_environment("usage-meter", settings, leads=False)).run()
