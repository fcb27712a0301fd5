"""What applications run on, with all that its life needs. Kubernetes' own is in adapters/kube/platform.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arks.app_deployer.adapters.announcer import Notice, no_notice
from arks.app_deployer.adapters.local import LocalWorkloads
from arks.app_deployer.adapters.metrics import EngineMeters, ReplicaGauges
from arks.app_deployer.adapters.no_stages import NoStages
from arks.app_deployer.adapters.probe import HttpProbe
from arks.app_deployer.config import Settings
from arks.app_deployer.disaggregated import Stages
from arks.app_deployer.service import Workloads
from arks.kit.home import Home, Run


@dataclass(frozen=True, slots=True)
class Platform:
    workloads: Workloads
    stages: Stages
    runs: Sequence[Run]
    starts: Sequence[Run]
    stops: Sequence[Run]
    notice: Notice = no_notice


def local_platform(settings: Settings, home: Home, environment: Mapping[str, str]) -> Platform:
    """One machine. `environment`: what engines get of ours."""
    probe = HttpProbe(health_seconds=settings.health_seconds, answer_seconds=settings.answer_seconds)
    meters = EngineMeters(home.registry)
    workloads = LocalWorkloads(settings, probe=probe, clock=home.clock, meters=meters, environment=environment)
    home.registry.register(ReplicaGauges(workloads.observed))
    return Platform(workloads, NoStages(), [], [probe.start, workloads.start], [probe.close, workloads.close])
