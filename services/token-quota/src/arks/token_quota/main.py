"""token-quota: wiring."""

import secrets
from functools import partial

from arks.contracts.gateway_token import TokenGate
from arks.contracts.resources import ArksQuota, ArksToken, key_digest
from arks.contracts.subjects import Facts
from arks.events.v1.facts_pb2 import EndpointFact, ScalingFact
from arks.kit.app import App
from arks.kit.cache import Cache
from arks.kit.home import Home, Records
from arks.kit.reconcile import Controller
from arks.kit.resource_events import ResourceEvents
from arks.kit.settings import read_secret
from arks.kit.start import home_from_environment
from arks.token_quota.adapters.counters import RedisCounters
from arks.token_quota.adapters.database import Database
from arks.token_quota.adapters.key_owners import SqlKeyOwners
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.adapters.loads import BusLoads
from arks.token_quota.adapters.metrics import PrometheusAdmissionMetrics
from arks.token_quota.adapters.redis_batches import RedisBatches
from arks.token_quota.adapters.server import GranianServer
from arks.token_quota.api.app import Api, Gates
from arks.token_quota.config import TokenQuotaSettings
from arks.token_quota.domain.token import TokenRecord, record_of
from arks.token_quota.service.admission import Admission
from arks.token_quota.service.budgets import Budgets
from arks.token_quota.service.holding import Holding
from arks.token_quota.service.index import Index
from arks.token_quota.service.key_owners import KeyOwners
from arks.token_quota.service.keyring import Keyring
from arks.token_quota.service.lease_changes import LeaseWatch
from arks.token_quota.service.migration import Migration
from arks.token_quota.service.quotas import QuotaReconciler
from arks.token_quota.service.reports import Reports
from arks.token_quota.service.startup import Startup
from arks.token_quota.service.tokens import TokenReconciler
from arks.token_quota.service.waking import Waking


def build(settings: TokenQuotaSettings, home: Home) -> App:
    """The whole service on the given home."""
    pepper = settings.pepper()
    tokens = home.records(ArksToken, lambda token: record_of(token, partial(key_digest, pepper)))
    quotas = home.resources(ArksQuota)
    budgets = Budgets(quotas.cache)
    endpoints = home.facts(Facts.ENDPOINTS, EndpointFact).cache
    index = Index(pepper, tokens.cache, budgets, endpoints)
    keyring = Keyring(tokens, index, home.secrets)

    database = Database(settings.ledger_url)
    counters = RedisCounters(RedisBatches(**settings.redis_arguments()), home.registry)
    ledger = SqlLedger(database)
    owners = KeyOwners(index, SqlKeyOwners(database), home.clock, settings.key_reserved_seconds)

    waking = Waking(home.facts(Facts.SCALING, ScalingFact).cache, home.bus)
    holding = _holding(settings, home, endpoints)
    admission = Admission(
        index,
        counters,
        ledger,
        PrometheusAdmissionMetrics(home.registry),
        clock=home.clock,
        default_completion_tokens=settings.default_completion_tokens,
        waking=waking,
        holding=holding,
    )
    leases = LeaseWatch(index, counters, home.clock)
    api = Api(admission, leases, Reports(ledger, counters), _gates(settings), home.tracer)
    server = GranianServer(api, settings.api_host, settings.api_port, settings.api_socket)

    quota_work = QuotaReconciler(
        quotas, budgets, ledger, ResourceEvents(home.outbox), home.clock, settings.quota_status_seconds
    )
    migration = Migration(database.migrate)
    loads = [home.synced, quota_work.load_resets, owners.load, keyring.load, owners.settle]
    startup = Startup(migration, loads, server)
    return App(
        "token-quota",
        home,
        controllers=[_token_status(home, tokens, index, keyring), _quota_status(home, quotas.cache, quota_work)],
        tasks=[startup.serve, _keys(home, tokens, keyring).run, owners.run, waking.run, holding.run],
        starts=[migration.run, owners.load],
        stops=[database.close, counters.close, server.stop],
        problems=[migration.problem, startup.problem],
    )


def _holding(settings: TokenQuotaSettings, home: Home, endpoints: Cache[EndpointFact]) -> Holding:
    return Holding(
        endpoints,
        BusLoads(home.bus),
        home.bus,
        holder=secrets.token_hex(8),
        bounds=settings.held_bounds,
        seconds=settings.held_seconds,
    )


def _gates(settings: TokenQuotaSettings) -> Gates:
    return Gates(
        gateway=TokenGate(read_secret(settings.gateway_token_file), settings.gateway_token_required),
        operator=TokenGate(read_secret(settings.operator_token_file)),
    )


def _keys(home: Home, tokens: Records[TokenRecord], keyring: Keyring) -> Controller:
    """A task, because it runs in every replica: the controllers of the service run in the leader."""
    controller = Controller("keys", keyring.reconcile, clock=home.clock, tracer=home.tracer)
    tokens.cache.subscribe(lambda key: controller.enqueue(key) if keyring.concerns(key) else None)
    return controller


def _token_status(home: Home, tokens: Records[TokenRecord], index: Index, keyring: Keyring) -> Controller:
    work = TokenReconciler(tokens, index, keyring, ResourceEvents(home.outbox), home.clock)
    controller = Controller("token status", work.reconcile, clock=home.clock, tracer=home.tracer)
    index.token_changes.subscribe(lambda key: controller.enqueue(key) if work.is_due(key) else None)
    return controller


def _quota_status(home: Home, quotas: Cache[ArksQuota], work: QuotaReconciler) -> Controller:
    controller = Controller("quota status", work.reconcile, clock=home.clock, tracer=home.tracer)
    quotas.subscribe(controller.enqueue)
    return controller


if __name__ == "__main__":
    settings = TokenQuotaSettings()
    build(settings, home_from_environment("token-quota", settings)).run()
