"""The parts of app-deployer that differ between one machine and Kubernetes."""

from collections.abc import Sequence
from dataclasses import dataclass

from arks.app_deployer.adapters.announcer import Notice, no_notice
from arks.app_deployer.adapters.probe import HttpProbe
from arks.app_deployer.service.applications import HardwareOf, Workloads, WriteReplicas, unknown_hardware
from arks.app_deployer.service.disaggregated import DisaggregatedWorkloads
from arks.kit.types import AsyncCallable


@dataclass(frozen=True, slots=True)
class Parts:
    """Each home's `wiring.py` builds them; `main` runs them with the service."""

    workloads: Workloads
    disaggregated_workloads: DisaggregatedWorkloads
    probe: HttpProbe
    """Of all engines; `starts` begins with its start, and `stops`, which run in reverse order, with its close."""
    runs: Sequence[AsyncCallable]
    starts: Sequence[AsyncCallable]
    stops: Sequence[AsyncCallable]
    notice: Notice = no_notice
    write_replicas: WriteReplicas | None = None
    """Only Kubernetes has HorizontalPodAutoscalers, which need it."""
    hardware: HardwareOf = unknown_hardware
