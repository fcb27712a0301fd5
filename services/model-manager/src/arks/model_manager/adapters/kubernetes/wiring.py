"""The parts of model-manager on Kubernetes."""

from arks.contracts.resources import ArksModel
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.cache import Cache
from arks.kit.errors import Invalid
from arks.kit.facts import FactWriter
from arks.kit.kube.api import POD
from arks.kit.kube.home import KubeHome
from arks.model_manager.adapters.kubernetes.manifests import Worker, claim_name
from arks.model_manager.adapters.kubernetes.notices import KubeNotices
from arks.model_manager.adapters.kubernetes.objects import CLAIM, JOB, OUR_PODS, OURS, Claims, Jobs
from arks.model_manager.adapters.kubernetes.progress import Progress
from arks.model_manager.adapters.kubernetes.states import claim_seen, job_seen, pod_seen
from arks.model_manager.adapters.kubernetes.storage import KubeStorage
from arks.model_manager.adapters.metrics import LoadMetrics
from arks.model_manager.adapters.parts import Parts
from arks.model_manager.adapters.publisher import BusAnnouncer
from arks.model_manager.config import Settings


def kube_parts(settings: Settings, home: KubeHome, models: Cache[ArksModel], facts: FactWriter[ModelFact]) -> Parts:
    """Raises Invalid when the image of workers is not known."""
    if not settings.worker_image:
        raise Invalid("ARKS_WORKER_IMAGE is not set: download workers run this service's own image, by its full name")
    watched = home.watch(CLAIM, claim_seen, OURS)
    jobs = Jobs(home.watch(JOB, job_seen, OURS), home.watch(POD, pod_seen, OUR_PODS))
    leading = home.election.leading  # the others see the same Jobs: each counts once
    metrics = LoadMetrics(home.registry, lambda: float(len(jobs.running()) if leading.is_set() else 0))
    progress = Progress(home.api, jobs, metrics.read_bytes, seconds=settings.poll_seconds)
    storage = KubeStorage(
        home.api,
        models=models,
        claims=Claims(home.api, watched, home.clock),
        jobs=jobs,
        progress=progress,
        metrics=metrics,
        worker=Worker(
            image=settings.worker_image,
            user=settings.worker_user,
            connections=settings.download_connections,
            reserve_bytes=settings.disk_reserve_bytes,
        ),
        clock=home.clock,
        look_seconds=settings.claim_look_seconds,
    )
    watched.subscribe(storage.claim_changed)
    bus = BusAnnouncer(home.bus, facts, home.clock, lambda model: claim_name(model.name, model.spec))
    notices = KubeNotices(bus, home.events)
    return Parts(
        storage=storage,
        follow=storage.follow,
        announcer=notices,
        secrets=None,
        check_seconds=None,
        tasks=[progress.run, storage.look_at_adopted, notices.run],
    )
