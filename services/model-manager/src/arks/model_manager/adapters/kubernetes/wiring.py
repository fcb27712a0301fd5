"""Build the parts of model-manager on Kubernetes."""

from arks.contracts.names import CACHE_PVC
from arks.contracts.resources import GROUP, VERSION, ArksApplication, ArksDisaggregatedApplication, ArksModel
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.cache import Cache
from arks.kit.errors import Invalid
from arks.kit.facts import FactWriter
from arks.kit.key import key_of
from arks.kit.kube.home import KubeHome
from arks.kit.kube.kinds import POD, Kind
from arks.kit.resource_events import ResourceEvents
from arks.kit.settings import read_secret
from arks.model_manager.adapters.kubernetes.consumers import Consumers
from arks.model_manager.adapters.kubernetes.faults import Faults
from arks.model_manager.adapters.kubernetes.manifests import WorkerOptions, pvc_name, storage_path_of
from arks.model_manager.adapters.kubernetes.node_cache.agents import Agents
from arks.model_manager.adapters.kubernetes.node_cache.home import KubeCacheHome
from arks.model_manager.adapters.kubernetes.node_cache.manifests import CacheOptions
from arks.model_manager.adapters.kubernetes.notices import KubeNotices
from arks.model_manager.adapters.kubernetes.objects import JOB, OUR_PODS, OURS, PVC, Jobs, Pvcs
from arks.model_manager.adapters.kubernetes.placement import consumer_of, disaggregated_consumer_of
from arks.model_manager.adapters.kubernetes.progress import WorkerProgress
from arks.model_manager.adapters.kubernetes.states import parse_job, parse_pod, parse_pvc
from arks.model_manager.adapters.kubernetes.storage import KubeStorage
from arks.model_manager.adapters.kubernetes.storage_classes import StorageClasses
from arks.model_manager.adapters.kubernetes.workers import Workers
from arks.model_manager.adapters.metrics import DownloadMetrics
from arks.model_manager.adapters.parts import Parts
from arks.model_manager.adapters.publisher import BusPublisher
from arks.model_manager.config import Settings

APPLICATION, DISAGGREGATED = (
    Kind(GROUP, VERSION, kind.__name__, kind.plural) for kind in (ArksApplication, ArksDisaggregatedApplication)
)
ONE_NODE_VOLUME = "OneNodeVolume"
"""Reason of the Kubernetes Event about a volume that an application's nodes cannot share."""


def kube_parts(settings: Settings, home: KubeHome, models: Cache[ArksModel], facts: FactWriter[ModelFact]) -> Parts:
    """Raises Invalid if the image of workers is not set."""
    if not settings.worker_image:
        raise Invalid("ARKS_WORKER_IMAGE is not set: download workers run this service's own image, by its full name")
    watched = home.watch(PVC, parse_pvc, OURS)
    jobs = Jobs(home.watch(JOB, parse_job, OURS), home.watch(POD, parse_pod, OUR_PODS))
    leading = home.election.leading  # standby replicas watch the same Jobs: only the leader counts them
    metrics = DownloadMetrics(home.registry, lambda: float(len(jobs.running()) if leading.is_set() else 0))
    progress = WorkerProgress(home.api, jobs, metrics.read_bytes, seconds=settings.poll_seconds)
    faults = Faults(home.api, home.clock)
    consumers = Consumers(
        [
            home.watch(APPLICATION, consumer_of, ""),
            home.watch(DISAGGREGATED, disaggregated_consumer_of, ""),
        ]
    )
    storage = KubeStorage(
        home.api,
        models=models,
        pvcs=Pvcs(home.api, watched, home.clock),
        jobs=jobs,
        progress=progress,
        workers=Workers(
            home.api,
            models=models,
            jobs=jobs,
            progress=progress,
            faults=faults,
            metrics=metrics,
            worker=_worker(settings),
            clock=home.clock,
            consumers=consumers,
            engines=settings.engine_pod_defaults,
            tracer=home.tracer,
        ),
        faults=faults,
        poll_seconds=settings.claim_look_seconds,
        consumers=consumers,
        classes=StorageClasses(home.api, home.clock),
        warn=lambda model, text: home.event_queue.put(model, ONE_NODE_VOLUME, text, warning=True),
    )
    watched.subscribe(storage.pvc_changed)
    caches, agents = _caches(settings, home)

    def cache_pvc_of(model: ArksModel) -> str:
        return CACHE_PVC if caches is not None and model.spec.cache is not None and model.spec.source else ""

    bus = BusPublisher(ResourceEvents(home.outbox), facts, lambda model: pvc_name(model.name, model.spec), cache_pvc_of)
    return Parts(
        storage=storage,
        follow=storage.follow,
        publisher=KubeNotices(bus, home.event_queue),
        secrets=None,
        check_seconds=None,
        caches=caches,
        path_of=lambda model: storage_path_of(key_of(model), model.spec).path,
        tasks=[progress.run, storage.poll_adopted_pvcs],
        stops=[agents.close] if agents is not None else [],
    )


def _caches(settings: Settings, home: KubeHome) -> tuple[KubeCacheHome | None, Agents | None]:
    """Raises OSError and ValueError for a key that is of no use."""
    key = read_secret(settings.node_cache_key_file)
    if key is None:
        return None, None
    agents = Agents(key)
    options = CacheOptions(
        directory=settings.node_cache_dir,
        release_namespace=settings.release_namespace,
        agents=settings.node_cache_agents,
        key=key,
        export_port=settings.node_cache_export_port,
        worker=_worker(settings),
    )
    return KubeCacheHome(home.api, agents, options, settings.watch_namespace), agents


def _worker(settings: Settings) -> WorkerOptions:
    return WorkerOptions(
        image=settings.worker_image,
        user=settings.worker_user,
        limits=settings.limits(),
        defaults=settings.pod_defaults,
    )
