"""token-quota: wiring."""

from arks.contracts.resources import ArksQuota, ArksToken
from arks.contracts.subjects import Facts
from arks.events.v1.facts_pb2 import EndpointFact
from arks.kit.app import App
from arks.kit.home import Home
from arks.kit.reconcile import Controller
from arks.kit.start import home_from_environment
from arks.token_quota.adapters.counters import RedisCounters
from arks.token_quota.adapters.database import Database
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.adapters.metrics import Metrics
from arks.token_quota.adapters.redis_batches import RedisBatches
from arks.token_quota.adapters.server import GranianServer
from arks.token_quota.adapters.stream import BusUsageStream
from arks.token_quota.api.app import Api
from arks.token_quota.config import TokenQuotaSettings
from arks.token_quota.service.admission import Admission
from arks.token_quota.service.index.index import Directory
from arks.token_quota.service.keyring import Keyring
from arks.token_quota.service.metering.ingest import Books, Ingest, Projector, Pruner, Sweeper
from arks.token_quota.service.quotas import Quotas
from arks.token_quota.service.reports import Reports
from arks.token_quota.service.startup import Lifecycle
from arks.token_quota.service.tokens import QuotaUsers, Tokens


def build(settings: TokenQuotaSettings, home: Home) -> App:
    """The whole service on the given home."""
    metrics = Metrics(home.registry)
    tokens, quotas = home.resources(ArksToken), home.resources(ArksQuota)
    endpoints = home.facts(Facts.ENDPOINTS, EndpointFact)
    directory = Directory(settings.pepper(), tokens.cache, quotas.cache, endpoints.cache)
    redis = RedisBatches(settings.redis_url, settings.redis_password(), timeout_seconds=settings.redis_timeout_seconds)
    counters = RedisCounters(redis, home.registry)
    database = Database(settings.ledger_url)
    ledger = SqlLedger(database)
    books = Books(directory, counters, ledger, metrics, home.clock)
    admission = Admission(
        directory,
        counters,
        ledger,
        metrics,
        home.clock,
        default_completion_tokens=settings.default_completion_tokens,
        reservation_seconds=settings.reservation_seconds,
    )
    projector = Projector(books, settings.sweep_seconds)
    sweeper = Sweeper(books, projector, admission.to_release, settings.sweep_seconds)
    ingest = Ingest(BusUsageStream(home.bus), books, projector)
    keyring = Keyring(tokens, directory, home.secrets)
    token_work = Tokens(tokens, directory, keyring, home.bus, home.clock, QuotaUsers(tokens.cache))
    quota_work = Quotas(quotas, directory, ledger, home.bus, home.clock, settings.quota_status_seconds)
    api = Api(admission, Reports(ledger, counters), grant_milliseconds=int(settings.reservation_seconds * 1000))
    server = GranianServer(api, settings.api_host, settings.api_port)
    life = Lifecycle(home, database, keyring, quota_work, server)
    keys = Controller("keys", keyring.reconcile, clock=home.clock)
    token_status = Controller("token status", token_work.reconcile, clock=home.clock)
    quota_status = Controller("quota status", quota_work.reconcile, clock=home.clock)
    tokens.cache.subscribe(keys.enqueue)
    tokens.cache.subscribe(token_status.enqueue)
    quotas.cache.subscribe(lambda key: quota_status.enqueue(key, quota_work.first_seconds(key)))
    token_work.follow(quotas.cache, token_status.enqueue)
    directory.on_rivals(token_status.enqueue)
    keyring.on_change(token_status.enqueue)
    work = (projector.run, sweeper.run, ingest.run, Pruner(books, settings.entries_keep_days).run)
    return App(
        "token-quota",
        home,
        controllers=[token_status, quota_status],
        tasks=[life.serve, keys.run, *(life.after_migration(run) for run in work)],
        starts=[life.migrate],
        stops=[database.close, counters.close, server.stop],
        problems=[life.problem],
    )


if __name__ == "__main__":
    settings = TokenQuotaSettings()
    build(settings, home_from_environment("token-quota", settings)).run()
